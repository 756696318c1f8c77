import { posix } from 'node:path'
import { pipeline, Readable } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { detectCompression } from '@flotilla/oci'
import { type Call, failedPrecondition, invalidArgument, RpcError } from '@flotilla/rpc'
import { extract, type Header } from 'tar-stream'
import type { TransferDeps } from './deps.ts'
import { ingest } from './ingest.ts'

/** A file of an archive, in content. */
export interface ArchivedBlob {
  readonly digest: string
  /** Bytes. */
  readonly size: number
}

/** What an archive holds, once all of it is in content. */
export interface Archive {
  /** By path. */
  readonly blobs: ReadonlyMap<string, ArchivedBlob>
  /** `oci-layout`, when there is one. */
  readonly layout: Buffer | undefined
  /** Docker's `manifest.json`, when there is one. */
  readonly manifest: Buffer | undefined
}

/** A member of a tar; its bytes are read before the next one comes. */
type TarEntry = Readable & { readonly header: Header }

/** Files that are read into memory are no larger: bytes. */
const maxDocument = 20 * 1024 * 1024

/**
 * Reads a tar of an image into content, file by file as it comes.
 *
 * @param maybeCompressed look whether all of it is compressed
 */
export async function readArchive(
  deps: TransferDeps,
  source: AsyncIterable<Buffer>,
  maybeCompressed: boolean,
  call: Call,
): Promise<Archive> {
  const blobs = new Map<string, ArchivedBlob>()
  const links = new Map<string, string>()
  let layout: Buffer | undefined
  let manifest: Buffer | undefined
  const entries = extract()
  const bytes = maybeCompressed ? decompressed(source) : source
  // Whichever of the two ends badly destroys the other; the loop below then throws.
  pipeline(Readable.from(bytes, { objectMode: false }), entries, () => {})
  try {
    for await (const entry of entries as AsyncIterable<TarEntry>) {
      const { name, type, size = 0, linkname } = entry.header
      const path = posix.normalize(name).replace(/^\/+/, '')
      if (type === 'symlink' && linkname) links.set(path, posix.join(posix.dirname(path), linkname))
      if (type !== 'file' && type !== 'contiguous-file') {
        entry.resume()
        continue
      }
      if (path === 'oci-layout') layout = await whole(entry, size, name)
      else if (path === 'manifest.json') manifest = await whole(entry, size, name)
      else blobs.set(path, await store(deps, path, size, entry, call))
    }
  } catch (error) {
    if (error instanceof RpcError || call.signal.aborted) throw error
    throw invalidArgument(`archive cannot be read: ${error instanceof Error ? error.message : error}`, { cause: error })
  } finally {
    entries.destroy()
  }
  // Docker writes a layer that several images share once, and links to it.
  for (const [path, target] of links) {
    const blob = blobs.get(target)
    if (blob !== undefined) blobs.set(path, blob)
  }
  return { blobs, layout, manifest }
}

async function store(
  deps: TransferDeps,
  path: string,
  size: number,
  bytes: AsyncIterable<Uint8Array>,
  call: Call,
): Promise<ArchivedBlob> {
  let opened = false
  const open = () => {
    if (opened) throw failedPrecondition(`${path} can be read only once`)
    opened = true
    return bytes
  }
  const { digest } = await ingest(deps, { ref: `tar-${path}`, size, open }, call)
  return { digest, size }
}

async function whole(source: AsyncIterable<Uint8Array>, size: number, name: string): Promise<Buffer> {
  if (size > maxDocument) throw failedPrecondition(`${name} is larger than ${maxDocument} bytes`)
  return Buffer.concat(await Array.fromAsync(source))
}

async function* decompressed(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const iterator = source[Symbol.asyncIterator]()
  let start: Buffer = Buffer.alloc(0)
  // As much as it takes to tell them apart.
  while (start.length < 8) {
    const next = await iterator.next()
    if (next.done) break
    start = Buffer.concat([start, next.value])
  }
  const all = (async function* () {
    yield start
    yield* { [Symbol.asyncIterator]: () => iterator }
  })()
  const compression = detectCompression(start)
  if (compression === 'none') {
    yield* all
    return
  }
  const stream = compression === 'gzip' ? createGunzip() : createZstdDecompress()
  pipeline(all, stream, () => {})
  yield* stream as AsyncIterable<Buffer>
}
