import {
  chmodat,
  errnoOf,
  type FileStat,
  fileType,
  lchownat,
  lgetxattr,
  llistxattr,
  lsetxattr,
  utimens,
} from '@flotilla/linux'
import { type Name, pathOf } from './name.ts'

/** Gives a copy the owner, mode, extended attributes and times of what it was made from. */
export function copyAttributes(from: Name, stat: FileStat, to: Name): void {
  lchownat(to.directory, to.name, stat.uid, stat.gid)
  // The kernel takes set-user-id bits and capabilities away when the owner is set, so these come after it.
  if ((stat.mode & fileType.mask) !== fileType.symlink) chmodat(to.directory, to.name, stat.mode & 0o7777)
  copyXattrs(pathOf(from), pathOf(to))
  utimens(to.name, stat, { directory: to.directory })
}

/** Errors that say that this attribute cannot be there, rather than that something is wrong. */
const refusals = new Set(['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'EACCES', 'EINVAL'])

function copyXattrs(from: Buffer, to: Buffer): void {
  for (const name of llistxattr(from)) {
    try {
      const value = lgetxattr(from, name)
      if (value !== undefined) lsetxattr(to, name, value)
    } catch (error) {
      if (!refusals.has(errnoOf(error) ?? '')) throw error
    }
  }
}
