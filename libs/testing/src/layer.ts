import { createHash } from 'node:crypto'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { type Header, pack } from 'tar-stream'

/** One entry of a layer. */
export interface LayerEntry extends Partial<Omit<Header, 'size' | 'pax'>> {
  readonly name: string
  /** Bytes of a file. */
  readonly content?: Buffer | string
  /** Extended header records, such as `mtime` with nanoseconds or `SCHILY.xattr.user.a`. */
  readonly pax?: Readonly<Record<string, string>>
}

export type Compression = 'none' | 'gzip' | 'zstd'

/** Bytes with what a descriptor says of them. */
export interface Blob {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly bytes: Buffer
  /** What a manifest that names it says of it. */
  readonly annotations?: Readonly<Record<string, string>>
}

export interface LayerBlob extends Blob {
  /** Digest of the uncompressed tar. */
  readonly diffId: string
}

/** The moment that everything made here carries, so that equal inputs give equal digests. */
export const epoch = new Date('2024-01-02T03:04:05Z')

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export function blobOf(mediaType: string, bytes: Buffer): Blob {
  return { mediaType, digest: digestOf(bytes), size: bytes.length, bytes }
}

/** A blob of JSON, as manifests and configs are. */
export function jsonBlob(mediaType: string, value: unknown): Blob {
  return blobOf(mediaType, Buffer.from(JSON.stringify(value)))
}

/** Writes a tar, entries in the given order, owner root and {@link epoch} unless an entry says otherwise. */
export async function tarOf(entries: Iterable<LayerEntry>): Promise<Buffer> {
  const tar = pack()
  const pieces: Buffer[] = []
  const reading = (async () => {
    for await (const piece of tar as AsyncIterable<Buffer>) pieces.push(piece)
  })()
  for (const { content, ...entry } of entries) {
    const header = { mtime: epoch, uid: 0, gid: 0, ...entry }
    if (content === undefined) tar.entry(header)
    else tar.entry(header, Buffer.from(content))
  }
  tar.finalize()
  await reading
  return Buffer.concat(pieces)
}

const suffixes: Record<Compression, string> = { none: '', gzip: '+gzip', zstd: '+zstd' }

export function compress(bytes: Buffer, compression: Compression): Buffer {
  if (compression === 'gzip') return gzipSync(bytes, { level: 6 })
  if (compression === 'zstd') return zstdCompressSync(bytes)
  return bytes
}

/** A layer blob from entries, or from a tar that exists already. */
export async function layerOf(
  source: Iterable<LayerEntry> | Buffer,
  compression: Compression = 'gzip',
): Promise<LayerBlob> {
  const tar = Buffer.isBuffer(source) ? source : await tarOf(source)
  const mediaType = `application/vnd.oci.image.layer.v1.tar${suffixes[compression]}`
  return { ...blobOf(mediaType, compress(tar, compression)), diffId: digestOf(tar) }
}
