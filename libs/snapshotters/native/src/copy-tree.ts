import { closeSync, constants, readdirSync } from 'node:fs'
import {
  AT_FDCWD,
  errnoOf,
  type FileStat,
  fileType,
  LinuxError,
  linkat,
  lstatx,
  makeDevice,
  mkdirat,
  mknod,
  openat,
  readlinkat,
  symlinkat,
} from '@flotilla/linux'
import { aborted } from '@flotilla/rpc'
import { takeTurns } from '@flotilla/snapshot-driver'
import { copyAttributes } from './attributes.ts'
import { copyFile } from './copy-file.ts'
import type { Name } from './name.ts'

const openDirectory = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/**
 * Copies a tree into a directory that exists, with its root's own attributes: owners, modes, times, extended attributes,
 * hard links, devices, FIFOs, sockets, holes. Other file systems mounted inside are not entered.
 *
 * Every step starts at an open directory and follows no link: a container that still writes to the tree can make the
 * copy fail, never lead it out of the tree.
 */
export async function copyTree(from: string, to: string, signal: AbortSignal): Promise<void> {
  const turns = takeTurns(signal)
  /** Inode of a file with several names → where its copy is, from the copy's root. */
  const linked = new Map<bigint, Buffer>()
  const root = stateOf({ directory: AT_FDCWD, name: Buffer.from(from) })
  const copyRoot = openat(AT_FDCWD, to, openDirectory)

  async function copyContents(source: number, target: number, path: Buffer): Promise<void> {
    for (const name of readdirSync(`/proc/self/fd/${source}`, { encoding: 'buffer' })) {
      if (turns.due()) await turns.next()
      const entry = { directory: source, name }
      const stat = stateOf(entry)
      if (stat.device !== root.device) continue
      await copyEntry(entry, stat, { directory: target, name }, path.length === 0 ? name : join(path, name))
    }
  }

  async function copyEntry(entry: Name, stat: FileStat, copy: Name, path: Buffer): Promise<void> {
    const type = stat.mode & fileType.mask
    if (type === fileType.directory) {
      mkdirat(copy.directory, copy.name, 0o700)
      await copyDirectory(entry, stat, copy, path)
      return
    }
    const other = linked.get(stat.inode)
    if (other !== undefined) {
      linkat(copyRoot, other, copy.directory, copy.name)
      return
    }
    if (stat.nlink > 1) linked.set(stat.inode, path)
    if (type === fileType.regular) await copyFile(entry, copy, turns)
    else if (type === fileType.symlink) symlinkat(readlinkat(entry.directory, entry.name), copy.directory, copy.name)
    else mknod(copy.name, type | 0o600, makeDevice(stat.rdevMajor, stat.rdevMinor), copy.directory)
    copyAttributes(entry, stat, copy)
  }

  async function copyDirectory(entry: Name, stat: FileStat, copy: Name, path: Buffer): Promise<void> {
    const source = openat(entry.directory, entry.name, openDirectory)
    try {
      const target = openat(copy.directory, copy.name, openDirectory)
      try {
        await copyContents(source, target, path)
      } finally {
        closeSync(target)
      }
    } finally {
      closeSync(source)
    }
    // Last, since each new entry changed the time of the directory.
    copyAttributes(entry, stat, copy)
  }

  try {
    const copy = { directory: AT_FDCWD, name: Buffer.from(to) }
    await copyDirectory({ directory: AT_FDCWD, name: Buffer.from(from) }, root, copy, Buffer.alloc(0))
  } catch (error) {
    if (!sayChanged(error)) throw error
    throw aborted('the parent changed while it was copied', { cause: error })
  } finally {
    closeSync(copyRoot)
  }
}

/** Whether a step met something that was removed or replaced since it was looked at. */
function sayChanged(error: unknown): boolean {
  const code = errnoOf(error) ?? ''
  // EINVAL: no link any more; ENXIO: a socket now.
  if (error instanceof LinuxError && error.syscall === 'readlinkat' && code === 'EINVAL') return true
  return ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(code)
}

function stateOf({ directory, name }: Name): FileStat {
  const stat = lstatx(name, directory)
  if (stat === undefined) throw aborted('the parent changed while it was copied')
  return stat
}

const join = (path: Buffer, name: Buffer) => Buffer.concat([path, Buffer.from('/'), name])
