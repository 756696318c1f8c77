import { createReadStream } from 'node:fs'
import { pipeline, type Readable } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'

export type Compression = 'none' | 'gzip' | 'zstd'

/** Bytes read, or handed on by a decompressor, at a time: large enough that the turns between threads do not count. */
const chunkSize = 256 * 1024

/** What a stream's first bytes say about its compression; a zstd stream may begin with a skippable frame. */
export function detectCompression(start: Uint8Array): Compression {
  if (start[0] === 0x1f && start[1] === 0x8b && start[2] === 0x08) return 'gzip'
  const tail = start[1] === 0x2a && start[2] === 0x4d && start[3] === 0x18
  if (start.length >= 8 && ((start[0] ?? 0) & 0xf0) === 0x50 && tail) return 'zstd'
  if (start[0] === 0x28 && start[1] === 0xb5 && start[2] === 0x2f && start[3] === 0xfd) return 'zstd'
  return 'none'
}

/** Bytes that {@link detectCompression} wants to see. */
const magicLength = 8

export interface LayerSource {
  /** A file to open, or an open descriptor that is read to its end and not closed. */
  readonly from: { readonly path: string } | { readonly fd: number }
  /** Whether to look for compression; 'none' takes the bytes as they are. */
  readonly compression: 'detect' | 'none'
}

/**
 * The uncompressed bytes of a layer, in chunks. Decompression runs on a thread of its own while a chunk is used, and at
 * most a few chunks wait.
 */
export async function* openLayer(source: LayerSource, signal: AbortSignal): AsyncGenerator<Buffer> {
  const raw =
    'path' in source.from
      ? createReadStream(source.from.path, { highWaterMark: chunkSize, signal })
      : createReadStream('', { fd: source.from.fd, autoClose: false, highWaterMark: chunkSize, signal })
  try {
    if (source.compression === 'none') {
      yield* chunksOf(raw)
      return
    }
    const { start, rest } = await peek(raw)
    const compression = detectCompression(start)
    if (compression === 'none') {
      yield* rest
      return
    }
    yield* decompress(rest, compression)
  } finally {
    raw.destroy()
  }
}

async function* chunksOf(stream: Readable): AsyncGenerator<Buffer> {
  for await (const chunk of stream) yield chunk as Buffer
}

/** The first bytes of a stream, and all of it. */
async function peek(stream: Readable): Promise<{ start: Buffer; rest: AsyncGenerator<Buffer> }> {
  const chunks = chunksOf(stream)
  let start: Buffer = Buffer.alloc(0)
  while (start.length < magicLength) {
    const next = await chunks.next()
    if (next.done === true) break
    start = start.length === 0 ? next.value : Buffer.concat([start, next.value])
  }
  return {
    start,
    rest: (async function* () {
      if (start.length > 0) yield start
      yield* chunks
    })(),
  }
}

async function* decompress(input: AsyncGenerator<Buffer>, compression: 'gzip' | 'zstd'): AsyncGenerator<Buffer> {
  const options = { chunkSize, highWaterMark: 4 * chunkSize }
  const stream = compression === 'gzip' ? createGunzip(options) : createZstdDecompress(options)
  // Its failure reaches the reader below: whichever of the two ends badly destroys the other.
  pipeline(input, stream, () => {})
  try {
    yield* chunksOf(stream)
  } catch (error) {
    throw new Error(`${compression}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  } finally {
    stream.destroy()
  }
}
