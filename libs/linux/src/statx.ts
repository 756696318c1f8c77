import { AT_FDCWD, AT_SYMLINK_NOFOLLOW } from './at-flags.ts'
import { bind, check, cPath, lastErrno, type Path } from './libc.ts'

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

/** ENOENT of errno.h. */
const noEntry = 2

/** The struct in words of 32 bits; 64-bit values have their low half first. */
const words = new Uint32Array(64)
/** The same where a word is signed. */
const signed = new Int32Array(words.buffer)
const halves = new Uint16Array(words.buffer)
const wholes = new BigUint64Array(words.buffer)

/**
 * The state of a file, a final symlink not followed. `directory` is a descriptor that a relative path starts at.
 * undefined when it does not exist; other failures throw.
 */
export function lstatx(path: Path, directory: number = AT_FDCWD): FileStat | undefined {
  if (!statWords(path, directory, words)) return undefined
  return {
    nlink: words[4] as number,
    uid: words[5] as number,
    gid: words[6] as number,
    mode: halves[14] as number,
    inode: wholes[4] as bigint,
    size: wide(10),
    blocks: wide(12),
    atime: { seconds: seconds(16), nanos: words[18] as number },
    mtime: { seconds: seconds(28), nanos: words[30] as number },
    rdevMajor: words[32] as number,
    rdevMinor: words[33] as number,
    device: (words[34] as number) * 2 ** 32 + (words[35] as number),
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
  const result = native(directory, cPath(path), AT_SYMLINK_NOFOLLOW, basic, words as never)
  if (result < 0 && lastErrno() === noEntry) return false
  check(result, 'statx', path)
  return true
}

function wide(word: number): number {
  return (words[word] as number) + (words[word + 1] as number) * 2 ** 32
}

/** Before 1970 it is negative. */
function seconds(word: number): number {
  return (words[word] as number) + (signed[word + 1] as number) * 2 ** 32
}
