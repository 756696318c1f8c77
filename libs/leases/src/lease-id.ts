import { randomBytes } from 'node:crypto'

/** An id for a lease whose client gave none, of the form that containerd's own have: nanoseconds, dash, 4 characters. */
export function generateLeaseId(): string {
  const nanoseconds = BigInt(Date.now()) * 1_000_000n + (process.hrtime.bigint() % 1_000_000n)
  return `${nanoseconds}-${randomBytes(3).toString('base64url')}`
}
