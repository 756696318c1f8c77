// Imports nothing, so that threads that only unpack layers can use it: its export `@flotilla/oci/compression` brings
// nothing of gRPC along.

export type Compression = 'none' | 'gzip' | 'zstd'

/** Bytes that {@link detectCompression} wants to see. */
export const magicLength = 8

/** What a stream's first bytes say about its compression; a zstd stream may begin with a skippable frame. */
export function detectCompression(start: Uint8Array): Compression {
  if (start[0] === 0x1f && start[1] === 0x8b && start[2] === 0x08) return 'gzip'
  const tail = start[1] === 0x2a && start[2] === 0x4d && start[3] === 0x18
  if (start.length >= magicLength && ((start[0] ?? 0) & 0xf0) === 0x50 && tail) return 'zstd'
  if (start[0] === 0x28 && start[1] === 0xb5 && start[2] === 0x2f && start[3] === 0xfd) return 'zstd'
  return 'none'
}
