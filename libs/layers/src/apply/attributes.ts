import {
  chmodat,
  errnoOf,
  type FileStat,
  fileType,
  lchownat,
  lgetxattr,
  llistxattr,
  lsetxattr,
  type Times,
  utimens,
} from '@flotilla/linux'
import { type ByteString, bytesToString, toPath } from '../tar/bytes.ts'
import type { TarEntry, TarTime } from '../tar/entry.ts'
import { procPath, type TreeDirectory } from './root-tree.ts'

const epoch: TarTime = { seconds: 0, nanos: 0 }

/** The last second that 64-bit nanoseconds since 1970 can express, in 2262. */
const lastSecond = 9_223_372_036

/** The times an entry's file gets: what lies outside 1970…2262 becomes 1970; it was not read before it was changed. */
export function entryTimes({ atime, mtime }: TarEntry): Times {
  return { atime: bounded(atime === undefined || isAfter(mtime, atime) ? mtime : atime), mtime: bounded(mtime) }
}

function bounded(time: TarTime): TarTime {
  return time.seconds < 0 || time.seconds >= lastSecond ? epoch : time
}

function isAfter(left: TarTime, right: TarTime): boolean {
  return left.seconds > right.seconds || (left.seconds === right.seconds && left.nanos > right.nanos)
}

/**
 * Sets an entry's extended attributes. `trusted.` ones are the file system's own business (overlay keeps its state in
 * them) and are never taken from an archive; those a file system or a file type cannot have are left out.
 */
export function setXattrs(path: string | Buffer, type: number, xattrs: TarEntry['xattrs']): void {
  for (const [name, value] of xattrs) {
    if (name.startsWith('trusted.')) continue
    try {
      lsetxattr(path, toPath(name), value)
    } catch (error) {
      const code = errnoOf(error)
      if (code === 'ENOTSUP' || code === 'EOPNOTSUPP') continue
      const special = type !== fileType.regular && type !== fileType.directory
      if (code === 'EPERM' && special && name.startsWith('user.')) continue
      throw error
    }
  }
}

/** Gives a new directory the owner, mode and attributes of another one. Its times are to be set later. */
export function copyAttributes(from: string | Buffer, found: FileStat, to: TreeDirectory, name: ByteString): void {
  lchownat(to.fd, toPath(name), found.uid, found.gid)
  copyXattrs(from, to, name, 'all')
  chmodat(to.fd, toPath(name), found.mode & 0o7777)
}

/** Gives a directory the extended attributes of another one, or those of them that it has not. */
export function copyXattrs(from: string | Buffer, to: TreeDirectory, name: ByteString, which: 'all' | 'missing'): void {
  const path = procPath(to, name)
  for (const attribute of llistxattr(from)) {
    const key = bytesToString(attribute)
    if (key.startsWith('trusted.')) continue
    if (which === 'missing' && lgetxattr(path, attribute) !== undefined) continue
    const value = lgetxattr(from, attribute)
    if (value !== undefined) setXattrs(path, fileType.directory, new Map([[key, value]]))
  }
}

/** Sets owner, extended attributes, mode and times of a name, in this order: a change of owner clears setuid. */
export function setMetadata(directory: TreeDirectory, name: ByteString, entry: TarEntry, type: number): void {
  const path = toPath(name)
  lchownat(directory.fd, path, entry.uid, entry.gid)
  if (entry.xattrs.size > 0) setXattrs(procPath(directory, name), type, entry.xattrs)
  if (type !== fileType.symlink) chmodat(directory.fd, path, entry.mode)
  utimens(path, entryTimes(entry), { directory: directory.fd })
}
