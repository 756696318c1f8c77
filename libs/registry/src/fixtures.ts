import { createHash } from 'node:crypto'
import { type Blob, seeded } from '@flotilla/testing'
import { createRegistryClient, type RegistryClientOptions } from './index.ts'

/** A client that tries again at once, so that tests of failures are quick. */
export function quickClient(options: Partial<RegistryClientOptions> = {}) {
  return createRegistryClient({ maxDownloads: 4, ...options, retry: { delay: 1, ...options.retry } })
}

/** A blob of bytes that do not repeat. */
export function randomBlob(size: number, seed = 1): Blob {
  const random = seeded(seed)
  const bytes = Buffer.alloc(size)
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(Math.floor(random() * 2 ** 32), at)
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size, bytes }
}

export async function bytesOf(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(source))
}

/** A blob's bytes from an offset on, in pieces as a file gives them. */
export async function* pieces(bytes: Buffer, offset = 0, size = 256 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = offset; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}
