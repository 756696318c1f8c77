import { fstatSync, read } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { detectCompression, magicLength } from '@flotilla/oci/compression'

/** Bytes read, or handed on by a decompressor, at a time: large enough that the turns between threads do not count. */
const chunkSize = 256 * 1024

export interface LayerSource {
  /**
   * A file to open, or an open descriptor that is read to its end and not closed. With a size it is a file that still
   * grows to so many bytes, and their coming is waited for.
   */
  readonly from: { readonly path: string } | { readonly fd: number; readonly size?: number | undefined }
  /** Whether to look for compression; 'none' takes the bytes as they are. */
  readonly compression: 'detect' | 'none'
}

/**
 * The uncompressed bytes of a layer, in chunks. Reading and decompressing go on on other threads while a chunk is used,
 * and at most a few chunks wait. When this has ended, nothing reads the descriptor any more.
 */
export async function* openLayer({ from, compression }: LayerSource, signal: AbortSignal): AsyncGenerator<Buffer> {
  const file = 'path' in from ? await open(from.path, 'r') : undefined
  const chunks =
    'fd' in from && from.size !== undefined
      ? growing(from.fd, from.size, signal)
      : chunksOf(file?.fd ?? ('fd' in from ? from.fd : -1), signal)
  try {
    if (compression === 'none') {
      yield* chunks
      return
    }
    const start = await firstBytes(chunks)
    const found = detectCompression(start)
    const all = withStart(start, chunks)
    yield* found === 'none' ? all : decompress(all, found)
  } finally {
    // Also waits for a read under way: its descriptor may be another file's as soon as it is closed.
    await chunks.return(undefined)
    await file?.close()
  }
}

const readAsync = promisify(read)

async function readChunk(fd: number, position: number | null = null): Promise<Buffer> {
  const { bytesRead, buffer } = await readAsync(fd, Buffer.allocUnsafe(chunkSize), 0, chunkSize, position)
  return buffer.subarray(0, bytesRead)
}

/** A file or pipe from where it stands to its end, one chunk read ahead. */
async function* chunksOf(fd: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  let next = readChunk(fd)
  try {
    for (;;) {
      const chunk = await next
      signal.throwIfAborted()
      if (chunk.length === 0) return
      next = readChunk(fd)
      yield chunk
    }
  } finally {
    await next.catch(() => {})
  }
}

/** Milliseconds between looks for more bytes. */
const lookEvery = 10

/** A file that others still write, until it has so many bytes. */
async function* growing(fd: number, size: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  for (let position = 0; position < size; ) {
    const chunk = await readChunk(fd, position)
    signal.throwIfAborted()
    if (chunk.length > 0) {
      position += chunk.length
      yield chunk
      continue
    }
    if (fstatSync(fd).nlink === 0) throw new Error(`the file went away at ${position} of ${size} bytes`)
    await sleep(lookEvery, undefined, { signal })
  }
}

async function firstBytes(chunks: AsyncGenerator<Buffer>): Promise<Buffer> {
  let start: Buffer = Buffer.alloc(0)
  while (start.length < magicLength) {
    const next = await chunks.next()
    if (next.done === true) break
    start = start.length === 0 ? next.value : Buffer.concat([start, next.value])
  }
  return start
}

async function* withStart(start: Buffer, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  if (start.length > 0) yield start
  yield* rest
}

async function* decompress(input: AsyncGenerator<Buffer>, compression: 'gzip' | 'zstd'): AsyncGenerator<Buffer> {
  const options = { chunkSize, highWaterMark: 4 * chunkSize }
  const stream = compression === 'gzip' ? createGunzip(options) : createZstdDecompress(options)
  // Its failure reaches the reader below: whichever of the two ends badly destroys the other.
  pipeline(input, stream, () => {})
  try {
    for await (const chunk of stream) yield chunk as Buffer
  } catch (error) {
    throw new Error(`${compression}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  } finally {
    stream.destroy()
  }
}
