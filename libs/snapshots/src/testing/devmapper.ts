import { type DevmapperOptions, devmapper } from '@flotilla/snapshotter-devmapper'
import { startThinPool, tempWorld } from '@flotilla/testing'
import { startSnapshots, type TestSnapshots } from './fixture.ts'

/** Options for a pool: small file systems without a journal, made fast, where what is written is what is counted. */
export const devmapperOptions = (poolName: string): DevmapperOptions => ({
  poolName,
  rootPath: '',
  baseImageSize: 64 << 20,
  fileSystem: 'ext4',
  fileSystemOptions: ['-N', '2048', '-O', '^has_journal', '-E', 'nodiscard,lazy_itable_init=0'],
  asyncRemove: false,
  discardBlocks: false,
})

/** The service over thin devices of a pool of its own, which goes with it. */
export async function startDevmapper(options: Partial<DevmapperOptions>): Promise<TestSnapshots> {
  const world = await tempWorld({ name: 'devmapper' })
  try {
    const pool = await startThinPool(world)
    const started = world.own(await startSnapshots(devmapper({ ...devmapperOptions(pool.name), ...options })))
    return { ...started, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() }
  } catch (error) {
    await world[Symbol.asyncDispose]()
    throw error
  }
}
