import { AT_FDCWD, AT_SYMLINK_NOFOLLOW } from './at-flags.ts'
import { bind, check, cPath, type Path } from './libc.ts'

/** A moment: nanoseconds since the epoch, or the two parts of a Timestamp message. */
export type Moment = bigint | { readonly seconds: number; readonly nanos: number }

export interface Times {
  readonly atime: Moment
  readonly mtime: Moment
}

const native = bind('int utimensat(int directory, const char *path, const void *times, int flags)')

const nanosPerSecond = 1_000_000_000n

/**
 * Sets access and modification time to the nanosecond. A final symlink is not followed unless `follow` is true.
 * `directory` is a descriptor that a relative path starts at.
 */
export function utimens(path: Path, times: Times, options: { follow?: boolean; directory?: number } = {}): void {
  const flags = options.follow === true ? 0 : AT_SYMLINK_NOFOLLOW
  check(native(options.directory ?? AT_FDCWD, cPath(path), timespecs(times), flags), 'utimensat', path)
}

const futimensNative = bind('int futimens(int fd, const void *times)')

/** {@link utimens} for an open file. */
export function futimens(fd: number, times: Times): void {
  check(futimensNative(fd, timespecs(times)), 'futimens')
}

// The caller's thread copies the values into the kernel before anything else can run, so one buffer serves all calls.
const buffer = new BigInt64Array(4)

function timespecs(times: Times): BigInt64Array {
  put(0, times.atime)
  put(2, times.mtime)
  return buffer
}

function put(index: number, moment: Moment): void {
  if (typeof moment !== 'bigint') {
    buffer[index] = BigInt(moment.seconds)
    buffer[index + 1] = BigInt(moment.nanos)
    return
  }
  // Before 1970 the nanoseconds still count upward from the whole second below.
  const nanos = ((moment % nanosPerSecond) + nanosPerSecond) % nanosPerSecond
  buffer[index] = (moment - nanos) / nanosPerSecond
  buffer[index + 1] = nanos
}
