import koffi from 'koffi'
import { LinuxError } from './errno.ts'

/** A path as text (UTF-8) or, for names that are not UTF-8, as bytes without a final NUL. */
export type Path = string | Uint8Array

type Argument = string | Uint8Array | BigInt64Array | number | bigint | null

interface NativeFunction {
  (...args: Argument[]): number
  async(...args: [...Argument[], (error: unknown, result: number) => void]): void
}

// The symbols of the process itself: Node is linked with the C library, so no file name of it has to be known.
const library = koffi.load(null)

/** Binds one C function. Results are small integers everywhere here, so plain numbers are exact. */
export function bind(prototype: string): NativeFunction {
  return library.func(prototype) as unknown as NativeFunction
}

/** A path in the form the C library reads. A NUL inside would cut the path short, so it is refused with EINVAL. */
export function cPath(path: Path): string | Uint8Array {
  if (typeof path === 'string') {
    if (path.includes('\0')) throw new LinuxError('EINVAL', 'path with a NUL byte', path)
    return path
  }
  if (path.includes(0)) throw new LinuxError('EINVAL', 'path with a NUL byte', showPath(path))
  const bytes = new Uint8Array(path.length + 1)
  bytes.set(path)
  return bytes
}

export function showPath(path: Path): string {
  return typeof path === 'string' ? path : Buffer.from(path.buffer, path.byteOffset, path.length).toString()
}

/** The result when it is not negative, else a LinuxError made from errno. */
export function check(result: number, call: string, path?: Path): number {
  if (result >= 0) return result
  throw LinuxError.fromErrno(koffi.errno(), call, path === undefined ? undefined : showPath(path))
}

/** The number of the last call's error, right after it failed: for failures that are usual and need no error object. */
export function lastErrno(): number {
  return koffi.errno()
}

/** Runs a call that may block for long (unmounting writes a file system back) on a thread of koffi's pool. */
export function checkAsync(native: NativeFunction, args: Argument[], call: string, path?: Path): Promise<number> {
  return new Promise((resolve, reject) => {
    native.async(...args, (error, result) => {
      if (error) reject(error)
      // koffi restores the errno of the finished call before it runs this callback.
      else if (result >= 0) resolve(result)
      else reject(LinuxError.fromErrno(koffi.errno(), call, path === undefined ? undefined : showPath(path)))
    })
  })
}
