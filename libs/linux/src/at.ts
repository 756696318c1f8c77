import { AT_REMOVEDIR, AT_SYMLINK_NOFOLLOW, O_CLOEXEC, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS } from './at-flags.ts'
import { bind, check, cPath, type Path } from './libc.ts'

// File operations relative to an open directory: nothing that another process does to the path above can redirect them.

const native = {
  openat: bind('int openat(int directory, const char *path, int flags, unsigned int mode)'),
  mkdirat: bind('int mkdirat(int directory, const char *path, unsigned int mode)'),
  unlinkat: bind('int unlinkat(int directory, const char *path, int flags)'),
  symlinkat: bind('int symlinkat(const char *target, int directory, const char *path)'),
  linkat: bind('int linkat(int from, const char *source, int to, const char *target, int flags)'),
  fchownat: bind('int fchownat(int directory, const char *path, unsigned int uid, unsigned int gid, int flags)'),
  fchmodat: bind('int fchmodat(int directory, const char *path, unsigned int mode, int flags)'),
  readlinkat: bind('long readlinkat(int directory, const char *path, void *buffer, size_t size)'),
  // openat2 has no wrapper in glibc 2.36.
  syscall: bind('long syscall(long number, int directory, const char *path, const void *how, size_t size)'),
}

/** Opens a file; the caller closes the descriptor. O_CLOEXEC is always added. */
export function openat(directory: number, name: Path, flags: number, mode = 0): number {
  return check(native.openat(directory, cPath(name), flags | O_CLOEXEC, mode), 'openat', name)
}

/** openat2's number, the same on all architectures. */
const SYS_openat2 = 437
const how = new BigInt64Array(3)

/**
 * Opens what lies below `directory` when no component of `path` is a symlink and none leaves it; otherwise ELOOP or
 * EXDEV. For paths that were resolved before and may have changed since.
 */
export function openBeneath(directory: number, path: Path, flags: number): number {
  how[0] = BigInt(flags | O_CLOEXEC)
  how[2] = BigInt(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
  return check(native.syscall(SYS_openat2, directory, cPath(path), how, 24), 'openat2', path)
}

/** Makes a directory. */
export function mkdirat(directory: number, name: Path, mode: number): void {
  check(native.mkdirat(directory, cPath(name), mode), 'mkdirat', name)
}

/** Removes a name that is no directory. */
export function unlinkat(directory: number, name: Path): void {
  check(native.unlinkat(directory, cPath(name), 0), 'unlinkat', name)
}

/** Removes an empty directory. */
export function rmdirat(directory: number, name: Path): void {
  check(native.unlinkat(directory, cPath(name), AT_REMOVEDIR), 'rmdirat', name)
}

/** Makes a symlink that holds `target`. */
export function symlinkat(target: Path, directory: number, name: Path): void {
  check(native.symlinkat(cPath(target), directory, cPath(name)), 'symlinkat', name)
}

/** Makes a hard link; a source that is a symlink is linked itself. */
export function linkat(fromDirectory: number, source: Path, directory: number, name: Path): void {
  check(native.linkat(fromDirectory, cPath(source), directory, cPath(name), 0), 'linkat', name)
}

/** Sets the owner of a name, not following a symlink. */
export function lchownat(directory: number, name: Path, uid: number, gid: number): void {
  check(native.fchownat(directory, cPath(name), uid, gid, AT_SYMLINK_NOFOLLOW), 'lchownat', name)
}

/** Sets permission bits of a name. It must not be a symlink: those are followed and have no mode of their own. */
export function chmodat(directory: number, name: Path, mode: number): void {
  check(native.fchmodat(directory, cPath(name), mode, 0), 'chmodat', name)
}

const linkBuffer = Buffer.alloc(4096)

/** The bytes a symlink holds. */
export function readlinkat(directory: number, name: Path): Buffer {
  const size = check(native.readlinkat(directory, cPath(name), linkBuffer, linkBuffer.length), 'readlinkat', name)
  return Buffer.from(linkBuffer.subarray(0, size))
}
