import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { truncate, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { promisify } from 'node:util'
import type { TempWorld } from './temp-world.ts'

// Debian's dmsetup leaves paths to udev even where there is none.
const env = { ...process.env, ...(existsSync('/run/udev/control') ? {} : { DM_DISABLE_UDEV: '1' }) }
const exec = promisify(execFile)
const run = (name: string, args: string[]) => exec(name, args, { env })
const output = async (name: string, ...args: string[]) => (await run(name, args)).stdout.trim()

const [metadataSize, sector, sectorsInBlock] = [32 << 20, 512, 128]

/** Whether kernel and programs of this machine can make a pool of thin devices. */
export function hasThinPools(): boolean {
  // Asking for the module loads it, where modules can be loaded.
  spawnSync('modprobe', ['dm_thin_pool'])
  const { status, stdout } = spawnSync('dmsetup', ['targets'], { encoding: 'utf8' })
  return status === 0 && stdout.includes('thin-pool') && existsSync('/dev/loop-control')
}

/** A pool of the device mapper, in sparse files. */
export interface ThinPool {
  /** Its name in `/dev/mapper`. */
  readonly name: string
  /** Which of the numbers up to `highest` its devices have. What has none is given a device, so ask this last. */
  devices(highest: number): Promise<number[]>
}

/** Makes a pool that goes with the world, with all devices in it. It has room for `size` bytes. */
export async function startThinPool(world: TempWorld, size = 4 * 2 ** 30): Promise<ThinPool> {
  const name = `${basename(world.path)}-pool`
  const attach = async (file: string, bytes: number) => {
    await writeFile(file, '')
    await truncate(file, bytes)
    const device = await output('losetup', '--find', '--show', file)
    world.cleanup(async () => void (await run('losetup', ['--detach', device])))
    return device
  }
  const metadata = await attach(world.join('thin-metadata'), metadataSize)
  const data = await attach(world.join('thin-data'), size)
  const table = `0 ${size / sector} thin-pool ${metadata} ${data} ${sectorsInBlock} 0 1 error_if_no_space`
  await run('dmsetup', ['create', name, '--table', table])
  world.cleanup(async () => {
    for (const line of (await output('dmsetup', 'ls')).split('\n')) {
      const [device = ''] = line.split('\t')
      if (device.startsWith(`${name}-`)) await run('dmsetup', ['remove', '--retry', device])
    }
    await run('dmsetup', ['remove', '--retry', name])
  })
  return {
    name,
    async devices(highest) {
      const found: number[] = []
      for (let thin = 1; thin <= highest; thin++) {
        const { stderr } = spawnSync('dmsetup', ['message', name, '0', `create_thin ${thin}`], { encoding: 'utf8' })
        if (stderr.includes('File exists')) found.push(thin)
        else if (stderr !== '') throw new Error(`create_thin ${thin}: ${stderr}`)
      }
      return found
    },
  }
}
