import { AT_FDCWD, AT_SYMLINK_NOFOLLOW } from './at-flags.ts'
import { LinuxError } from './errno.ts'
import { bind, check, cPath, lastErrno, type Path, showPath } from './libc.ts'

/** What the library's callers need of struct statx, without the cost of a Stats object full of bigints. */
export interface FileStat {
  /** Type and permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes. Exact: file sizes stay below 2^53. */
  readonly size: number
  readonly nlink: number
  readonly inode: bigint
  /** `MAJOR:MINOR` packed as major × 2^32 + minor. */
  readonly device: number
  readonly rdevMajor: number
  readonly rdevMinor: number
  readonly atime: { readonly seconds: number; readonly nanos: number }
  readonly mtime: { readonly seconds: number; readonly nanos: number }
  /** Unit: 512 bytes. */
  readonly blocks: number
}

const native = bind('int statx(int directory, const char *path, int flags, unsigned int mask, void *result)')

/** STATX_BASIC_STATS of linux/stat.h. */
const basic = 0x7ff

const result = Buffer.alloc(256)

/**
 * The state of a file, a final symlink not followed. `directory` is a descriptor that a relative path starts at.
 * undefined when it does not exist; other failures throw.
 */
export function lstatx(path: Path, directory: number = AT_FDCWD): FileStat | undefined {
  if (native(directory, cPath(path), AT_SYMLINK_NOFOLLOW, basic, result) < 0) {
    try {
      check(-1, 'statx', path)
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      throw error
    }
  }
  return {
    nlink: result.readUInt32LE(16),
    uid: result.readUInt32LE(20),
    gid: result.readUInt32LE(24),
    mode: result.readUInt16LE(28),
    inode: result.readBigUInt64LE(32),
    size: wide(40),
    blocks: wide(48),
    atime: { seconds: Number(result.readBigInt64LE(64)), nanos: result.readUInt32LE(72) },
    mtime: { seconds: Number(result.readBigInt64LE(112)), nanos: result.readUInt32LE(120) },
    rdevMajor: result.readUInt32LE(128),
    rdevMinor: result.readUInt32LE(132),
    device: result.readUInt32LE(136) * 2 ** 32 + result.readUInt32LE(140),
  }
}

/** Where {@link statWords} puts what, in words of 32 bits. */
export const statWord = { nlink: 4, mode: 7, inode: 8, blocks: 12, deviceMajor: 34, deviceMinor: 35 } as const
/** Words of struct statx. */
export const statWordCount = 64

/**
 * The state of a file as the kernel writes it, for walks over many files: no object for each. `words` are
 * {@link statWordCount}; 64-bit values have their low half first, the mode is the low half of its word. False when the file
 * does not exist; other failures throw.
 */
export function statWords(path: Path, directory: number, words: Uint32Array): boolean {
  if (native(directory, cPath(path), AT_SYMLINK_NOFOLLOW, basic, words as never) >= 0) return true
  const error = LinuxError.fromErrno(lastErrno(), 'statx', showPath(path))
  if (error.code === 'ENOENT') return false
  throw error
}

function wide(offset: number): number {
  return result.readUInt32LE(offset) + result.readUInt32LE(offset + 4) * 2 ** 32
}
