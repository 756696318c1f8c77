import { fstatSync, read } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { detectCompression, magicLength } from '@flotilla/oci/compression'

/** Bytes read at a time, at least and at most: large enough that the turns between threads do not count. */
const pieces = { least: 256 * 1024, most: 512 * 1024 }

/**
 * Bytes of the memory that a decompressor fills, at least and at most, and for what has no known size. It hands on what it
 * has made of each piece that was read, and again where this memory ends. Small layers do not pay for much; of them
 * several are unpacked beside each other.
 */
const rooms = { least: 256 * 1024, most: 2 * 1024 * 1024, unknown: 1024 * 1024 }

/**
 * Chunks that a decompressor may be ahead: large files and small ones take so different a time to write that with one
 * chunk ahead now it waits and now its user. With the two in use these are at most 20 MiB.
 */
const ahead = 8

/** Bytes that are used at a time; see `decompress`. */
const slice = 256 * 1024

const within = (value: number, { least, most }: { readonly least: number; readonly most: number }) =>
  Math.min(Math.max(Math.ceil(value), least), most)

/** For a layer of so many bytes as it is stored; 0 when that is not known. */
function sizesFor(bytes: number): { readonly piece: number; readonly room: number } {
  return { piece: within(bytes / 128, pieces), room: bytes === 0 ? rooms.unknown : within(bytes / 4, rooms) }
}

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
 * and at most so many wait, see `ahead`. Bytes are valid until the next chunk is asked for. When this has ended, nothing
 * reads the descriptor any more.
 */
export async function* openLayer({ from, compression }: LayerSource, signal: AbortSignal): AsyncGenerator<Buffer> {
  await using file = 'path' in from ? await open(from.path, 'r') : undefined
  const fd = file?.fd ?? ('fd' in from ? from.fd : -1)
  const grownTo = 'fd' in from ? from.size : undefined
  // A pipe's is 0.
  const { piece, room } = sizesFor(grownTo ?? fstatSync(fd).size)
  const chunks = grownTo === undefined ? chunksOf(fd, piece, signal) : growing(fd, grownTo, piece, signal)
  try {
    if (compression === 'none') {
      yield* chunks
      return
    }
    const start = await firstBytes(chunks)
    const found = detectCompression(start)
    const all = withStart(start, chunks)
    yield* found === 'none' ? all : decompress(all, found, room)
  } finally {
    // Also waits for a read under way: its descriptor may be another file's as soon as it is closed.
    await chunks.return(undefined)
  }
}

const readAsync = promisify(read)

async function readChunk(fd: number, piece: number, position: number | null = null): Promise<Buffer> {
  const { bytesRead, buffer } = await readAsync(fd, Buffer.allocUnsafe(piece), 0, piece, position)
  return buffer.subarray(0, bytesRead)
}

/** A file or pipe from where it stands to its end, one chunk read ahead. */
async function* chunksOf(fd: number, piece: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  let next = readChunk(fd, piece)
  try {
    for (;;) {
      const chunk = await next
      signal.throwIfAborted()
      if (chunk.length === 0) return
      next = readChunk(fd, piece)
      yield chunk
    }
  } finally {
    await next.catch(() => {})
  }
}

/** Milliseconds between looks for more bytes. */
const lookEvery = 10

/** A file that others still write, until it has so many bytes. */
async function* growing(fd: number, size: number, piece: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  for (let position = 0; position < size; ) {
    const chunk = await readChunk(fd, piece, position)
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

/**
 * A decompressor works on another thread, but is given its next piece, and what it made is taken from it, on this one,
 * where the user of a chunk lets nothing else happen: between slices there is a turn for both.
 */
async function* decompress(
  input: AsyncGenerator<Buffer>,
  compression: 'gzip' | 'zstd',
  room: number,
): AsyncGenerator<Buffer> {
  const options = {
    chunkSize: room,
    writableHighWaterMark: 4 * pieces.most,
    // Chunks are counted: what waits as bytes would be copied together.
    readableObjectMode: true,
    readableHighWaterMark: ahead,
  }
  const stream = compression === 'gzip' ? createGunzip(options) : createZstdDecompress(options)
  // Its failure reaches the reader below: whichever of the two ends badly destroys the other.
  pipeline(input, stream, () => {})
  try {
    for await (const chunk of usedOnce(stream))
      for (let at = 0; at < chunk.length; at += slice) {
        if (at > 0) await turn()
        yield chunk.subarray(at, at + slice)
      }
  } catch (error) {
    throw new Error(`${compression}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  } finally {
    stream.destroy()
  }
}

/**
 * The chunks of a decompressor, which fills one memory after the other. One that is used up is freed at once and taken
 * again for a later one: left to the collector they become many megabytes, and new pages of the kernel all the time.
 */
async function* usedOnce(chunks: AsyncIterable<Buffer<ArrayBuffer>>): AsyncGenerator<Buffer> {
  let used: ArrayBuffer | undefined
  for await (const chunk of chunks) {
    if (chunk.buffer !== used) used?.transfer(0)
    used = chunk.buffer
    yield chunk
  }
}
