import { O_CLOEXEC } from './at-flags.ts'
import { bind, check } from './libc.ts'

const native = bind('int pipe2(void *ends, int flags)')
const ends = Buffer.alloc(8)

/** A pipe; both ends are the caller's to close, and are not inherited by programs unless passed on. */
export function pipe(): { readonly read: number; readonly write: number } {
  check(native(ends, O_CLOEXEC), 'pipe2')
  return { read: ends.readInt32LE(0), write: ends.readInt32LE(4) }
}
