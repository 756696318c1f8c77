import { closeSync, constants, openSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { ioctl, LinuxError } from '@flotilla/linux'

// linux/btrfs.h: every argument below is a structure of one page.
const page = 4096
const write = 1
const readWrite = 3
const request = (direction: number, number: number) => direction * 2 ** 30 + page * 2 ** 16 + 0x94 * 2 ** 8 + number
const create = request(write, 14)
const destroy = request(write, 15)
const lookUp = request(readWrite, 18)
const snapshot = request(write, 23)

/** Where the name is in the two forms of the argument, and how long it may be with its final NUL. */
const name = { plain: { at: 8, room: 4088 }, second: { at: 56, room: 4040 } }

/** The root directory of every subvolume has this inode number. */
const rootInode = 256n

/** Runs `use` with a descriptor of a directory. */
function withDirectory<T>(path: string, use: (fd: number) => T): T {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    return use(fd)
  } finally {
    closeSync(fd)
  }
}

function ask(
  what: string,
  number: number,
  path: string,
  form: { at: number; room: number },
  fill?: (a: Buffer) => void,
) {
  const argument = Buffer.alloc(page)
  fill?.(argument)
  if (argument.write(basename(path), form.at, form.room - 1) !== Buffer.byteLength(basename(path)))
    throw new LinuxError('ENAMETOOLONG', what, path)
  withDirectory(dirname(path), (fd) => ioctl(fd, number, argument, what, path))
}

/** Makes an empty subvolume where nothing is yet. */
export function createSubvolume(path: string): void {
  ask('create a subvolume', create, path, name.plain)
}

/** Makes a writable subvolume that begins as another one is now. */
export function snapshotSubvolume(from: string, path: string): void {
  withDirectory(from, (source) =>
    ask('snapshot a subvolume', snapshot, path, name.second, (argument) => argument.writeBigInt64LE(BigInt(source), 0)),
  )
}

/** Deletes a subvolume with all that is in it, but for other subvolumes: then it is ENOTEMPTY. */
export function destroySubvolume(path: string): void {
  ask('delete a subvolume', destroy, path, name.plain)
}

/** The number by which a subvolume is mounted. */
export function subvolumeId(path: string): bigint {
  const argument = Buffer.alloc(page)
  argument.writeBigUInt64LE(rootInode, 8)
  return withDirectory(path, (fd) => {
    ioctl(fd, lookUp, argument, 'look up a subvolume', path)
    return argument.readBigUInt64LE(0)
  })
}
