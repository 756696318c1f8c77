import { bind, check, cPath, lastErrno, type Path } from './libc.ts'

const set = bind('int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)')
const get = bind('long lgetxattr(const char *path, const char *name, void *value, size_t size)')
const list = bind('long llistxattr(const char *path, void *list, size_t size)')
const remove = bind('int lremovexattr(const char *path, const char *name)')

/** Bytes a value or a list may have: XATTR_SIZE_MAX and XATTR_LIST_MAX of linux/limits.h. */
const limit = 65536

/** ENODATA, ERANGE and EOPNOTSUPP, which is ENOTSUP too, in errno.h. */
const [noData, outOfRange, notSupported] = [61, 34, 95]

const scratch = Buffer.alloc(limit)
/** Bytes that are asked for first: the kernel takes and clears as much memory as it is asked for, for every file. */
const first = 256

/** The same call with room for anything where the first room was too small. */
function inRoom(call: (room: number) => number): number {
  const size = call(first)
  return size < 0 && lastErrno() === outOfRange ? call(limit) : size
}

/** Sets an extended attribute of a file, not following a final symlink. */
export function lsetxattr(path: Path, name: Path, value: Uint8Array): void {
  // koffi passes an empty array as a null pointer, which the kernel takes together with size 0.
  check(set(cPath(path), cPath(name), value, value.length, 0), 'lsetxattr', path)
}

/** The value of an extended attribute; undefined when the file does not have it or its file system has none. */
export function lgetxattr(path: Path, name: Path): Buffer | undefined {
  const [file, attribute] = [cPath(path), cPath(name)]
  const size = inRoom((room) => get(file, attribute, scratch, room))
  // Most files have none, and there are many files.
  if (size < 0 && (lastErrno() === noData || lastErrno() === notSupported)) return undefined
  return Buffer.from(scratch.subarray(0, check(size, 'lgetxattr', path)))
}

const none: readonly Buffer[] = []

/** The names of a file's extended attributes; none where the file system has none. */
export function llistxattr(path: Path): readonly Buffer[] {
  const file = cPath(path)
  const size = inRoom((room) => list(file, scratch, room))
  if (size === 0 || (size < 0 && lastErrno() === notSupported)) return none
  check(size, 'llistxattr', path)
  const names: Buffer[] = []
  for (let start = 0; start < size; ) {
    const end = scratch.indexOf(0, start)
    names.push(Buffer.from(scratch.subarray(start, end)))
    start = end + 1
  }
  return names
}

/** Removes an extended attribute; ENODATA when it is not there. */
export function lremovexattr(path: Path, name: Path): void {
  check(remove(cPath(path), cPath(name)), 'lremovexattr', path)
}
