import { createHash, type Hash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip, createZstdCompress } from 'node:zlib'
import { epoch, seeded } from '@flotilla/testing'
import { type Pack, pack } from 'tar-stream'

export interface LayerPlan {
  readonly seed: number
  readonly files: number
  /** Bytes of all files together. */
  readonly bytes: number
  readonly compression: 'gzip' | 'zstd'
}

export interface LayerFile {
  readonly mediaType: string
  readonly digest: string
  readonly diffId: string
  readonly size: number
}

/** Writes a layer as a blob below `blobs`, named by its digest. */
export async function writeLayer(plan: LayerPlan, blobs: string, content: Buffer): Promise<LayerFile> {
  await mkdir(blobs, { recursive: true })
  const temporary = join(blobs, `.layer-${plan.seed}-${process.pid}`)
  const tar = pack()
  const [diff, blob] = [createHash('sha256'), createHash('sha256')]
  const compressor = plan.compression === 'gzip' ? createGzip({ level: 6 }) : createZstdCompress()
  await Promise.all([
    fill(tar, plan, content),
    pipeline(
      tar as unknown as NodeJS.ReadableStream,
      hashing(diff),
      compressor,
      hashing(blob),
      createWriteStream(temporary),
    ),
  ])
  const digest = blob.digest('hex')
  await rename(temporary, join(blobs, digest))
  return {
    mediaType: `application/vnd.oci.image.layer.v1.tar+${plan.compression}`,
    digest: `sha256:${digest}`,
    diffId: `sha256:${diff.digest('hex')}`,
    size: (await stat(join(blobs, digest))).size,
  }
}

/** Writes a small blob and gives its digest. */
export async function writeBlob(blobs: string, bytes: Buffer): Promise<string> {
  await mkdir(blobs, { recursive: true })
  const digest = createHash('sha256').update(bytes).digest('hex')
  await writeFile(join(blobs, digest), bytes)
  return `sha256:${digest}`
}

export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return `sha256:${hash.digest('hex')}`
}

function hashing(hash: Hash): Transform {
  return new Transform({
    transform(chunk, _, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })
}

/**
 * A tree with as many directories and links as a Debian root file system has for its files. Sizes are spread as there:
 * half the files below 3 KB, most of the bytes in a few large ones.
 */
async function fill(tar: Pack, plan: LayerPlan, content: Buffer): Promise<void> {
  const random = seeded(plan.seed)
  const weights = Array.from({ length: plan.files }, () => Math.exp(2.1 * normal(random)))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const perDirectory = 10
  let left = plan.bytes
  for (const [index, weight] of weights.entries()) {
    const size = index === plan.files - 1 ? left : Math.min(left, Math.round((weight / total) * plan.bytes))
    left -= size
    const number = Math.floor(index / perDirectory)
    const directory = `layer-${plan.seed}/part-${number % 7}/directory-${number}`
    if (index === 0) await entry(tar, { name: `layer-${plan.seed}`, type: 'directory' })
    if (index % perDirectory === 0 && number < 7)
      await entry(tar, { name: `layer-${plan.seed}/part-${number}`, type: 'directory' })
    if (index % perDirectory === 0) await entry(tar, { name: directory, type: 'directory' })
    if (index % 13 === 12)
      await entry(tar, { name: `${directory}/link-${index}`, type: 'symlink', linkname: '../../bin' })
    await entry(tar, { name: `${directory}/file-${index}`, type: 'file', size }, { content, random })
  }
  tar.finalize()
}

/** About the normal distribution: the sum of twelve even ones. */
function normal(random: () => number): number {
  let sum = -6
  for (let count = 0; count < 12; count++) sum += random()
  return sum
}

function entry(
  tar: Pack,
  header: { name: string; type: 'file' | 'directory' | 'symlink'; size?: number; linkname?: string },
  from?: { content: Buffer; random: () => number },
): Promise<void> {
  const mode = header.type === 'file' ? 0o644 : 0o755
  return new Promise((resolve, reject) => {
    const stream = tar.entry({ ...header, mode, mtime: epoch, uid: 0, gid: 0 }, (error) =>
      error ? reject(error) : resolve(),
    )
    if (from !== undefined) void pour(stream, header.size ?? 0, from)
  })
}

async function pour(
  stream: NodeJS.WritableStream,
  size: number,
  { content, random }: { content: Buffer; random: () => number },
): Promise<void> {
  const most = 1024 * 1024
  for (let left = size; left > 0; ) {
    const length = Math.min(left, most)
    const at = Math.floor(random() * (content.length - length))
    left -= length
    if (!stream.write(content.subarray(at, at + length)))
      await new Promise<void>((resolve) => stream.once('drain', () => resolve()))
  }
  stream.end()
}
