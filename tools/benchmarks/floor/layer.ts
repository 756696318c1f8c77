import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { errnoOf } from '@flotilla/linux'
import { tempWorld } from '@flotilla/testing'
import type { BenchImages } from '../images.ts'
import { type Effort, type Floor, floorOf } from './floor.ts'

const step = 1024 * 1024

/**
 * The parts of pulling and unpacking one big layer, each alone and by C: zlib, zstd and OpenSSL as Node has them, and a
 * program that writes the files, which is compiled here.
 */
export async function* layerFloors(images: BenchImages, effort: Effort): AsyncGenerator<Floor> {
  await using world = await tempWorld({ name: 'bench-floor', tmpfs: true })
  const blobOf = async (name: 'one-layer' | 'one-layer-zstd') => {
    const { layers, layout } = await images.about(name)
    return join(layout, 'blobs/sha256', layers[0]?.digest.slice('sha256:'.length) ?? '')
  }
  const [gzip, zstd] = [await blobOf('one-layer'), await blobOf('one-layer-zstd')]
  const blob = readFileSync(gzip)
  const options = { chunkSize: step }
  yield await floorOf('one layer of 768 MB: gzip decompressed', effort, async () => {
    for await (const _ of createReadStream(gzip, { highWaterMark: step }).pipe(createGunzip(options)));
  })
  yield await floorOf('one layer of 768 MB: zstd decompressed', effort, async () => {
    for await (const _ of createReadStream(zstd, { highWaterMark: step }).pipe(createZstdDecompress(options)));
  })
  const tar = await buffer(createReadStream(gzip).pipe(createGunzip(options)))
  const hash = (bytes: Buffer) => () => void createHash('sha256').update(bytes).digest()
  yield await floorOf('one layer of 768 MB: SHA-256 of the blob', effort, hash(blob))
  yield await floorOf('one layer of 768 MB: SHA-256 of the tar', effort, hash(tar))

  const [file, program, tree] = [world.join('layer.tar'), world.join('write-tar'), world.join('tree')]
  await writeFile(file, tar)
  const source = fileURLToPath(new URL('./write-tar.c', import.meta.url))
  if (!compile(source, program)) {
    process.stderr.write('bench: no C compiler (cc), so the writing of files is left out\n')
    return
  }
  yield await floorOf(
    'one layer of 768 MB: files made and written',
    effort,
    () => execFileSync(program, [file, tree], { stdio: ['ignore', 'ignore', 'inherit'] }),
    {
      async before() {
        await rm(tree, { recursive: true, force: true })
        await mkdir(tree)
      },
    },
  )
}

/** False when this machine has no compiler. */
function compile(source: string, program: string): boolean {
  try {
    execFileSync('cc', ['-O2', '-o', program, source], { stdio: ['ignore', 'ignore', 'inherit'] })
    return true
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false
    throw error
  }
}
