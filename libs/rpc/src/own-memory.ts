/**
 * A copy by itself. What a socket gives, and small copies made by `Buffer.from`, are parts of a larger memory, often of
 * 64 KiB, all of which would be kept with a part that is kept for long.
 */
export function inOwnMemory(bytes: Buffer): Buffer {
  const own = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(own)
  return own
}
