import { AT_FDCWD } from './at-flags.ts'
import { bind, check, cPath, type Path } from './libc.ts'

/** File type bits of a mode, as in stat(2). */
export const fileType = {
  mask: 0o170000,
  socket: 0o140000,
  symlink: 0o120000,
  regular: 0o100000,
  block: 0o060000,
  directory: 0o040000,
  character: 0o020000,
  fifo: 0o010000,
} as const

const mknodNative = bind('int mknodat(int directory, const char *path, unsigned int mode, unsigned long device)')

/**
 * Makes a device node, FIFO or socket. `mode` holds type and permission bits; the process's umask takes bits away.
 * `directory` is a descriptor that a relative path starts at.
 */
export function mknod(path: Path, mode: number, device: bigint = 0n, directory: number = AT_FDCWD): void {
  check(mknodNative(directory, cPath(path), mode, device), 'mknod', path)
}

/** Makes a FIFO. */
export function mkfifo(path: Path, mode = 0o600): void {
  mknod(path, fileType.fifo | (mode & 0o7777))
}

/** The device number of major and minor, in the encoding of the C library's makedev. Each must fit 32 bits. */
export function makeDevice(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)]
  return ((high & 0xfffff000n) << 32n) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | (low & 0xffn)
}

/** Major and minor of a device number (`st_rdev`). */
export function splitDevice(device: bigint): { major: number; minor: number } {
  return {
    major: Number(((device >> 32n) & 0xfffff000n) | ((device >> 8n) & 0xfffn)),
    minor: Number(((device >> 12n) & 0xffffff00n) | (device & 0xffn)),
  }
}
