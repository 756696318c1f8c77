import { closeSync, constants, copyFileSync, fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs'
import { copyFile as copyFileAsync } from 'node:fs/promises'
import { errnoOf, openat } from '@flotilla/linux'
import { aborted } from '@flotilla/rpc'
import type { Turns } from '@flotilla/snapshot-driver'
import { dataRanges } from './data-ranges.ts'
import { type Name, pathOf } from './name.ts'

// Not blocking: should a FIFO have taken the file's place, opening it must not wait for a writer.
const openFile = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
const createFile = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL

/** Bytes up to which a copy on this thread is cheaper than the way to another. */
const small = 256 * 1024

/**
 * Copies the bytes of a file: shared with the original where the file system can, in the kernel otherwise, and holes stay
 * holes.
 */
export async function copyFile(from: Name, to: Name, turns: Turns): Promise<void> {
  const source = openat(from.directory, from.name, openFile)
  try {
    const stat = fstatSync(source)
    if (!stat.isFile()) throw aborted('the parent changed while it was copied')
    if (stat.blocks * 512 < stat.size) {
      if (!shareBytes(source, to)) await copyData(source, stat.size, to, turns)
    } else if (stat.size === 0) {
      closeSync(openat(to.directory, to.name, createFile, 0o600))
    } else if (stat.size <= small) {
      copyFileSync(`/proc/self/fd/${source}`, pathOf(to), constants.COPYFILE_FICLONE)
    } else {
      await copyFileAsync(`/proc/self/fd/${source}`, pathOf(to), constants.COPYFILE_FICLONE)
    }
  } finally {
    closeSync(source)
  }
}

/** Whether the file system could let the copy have the same blocks. */
function shareBytes(source: number, to: Name): boolean {
  try {
    copyFileSync(`/proc/self/fd/${source}`, pathOf(to), constants.COPYFILE_FICLONE_FORCE)
    return true
  } catch (error) {
    if (['ENOTSUP', 'EOPNOTSUPP', 'EXDEV', 'EINVAL', 'ENOSYS', 'ENOTTY'].includes(errnoOf(error) ?? '')) return false
    throw error
  }
}

async function copyData(source: number, size: number, to: Name, turns: Turns): Promise<void> {
  const target = openat(to.directory, to.name, createFile, 0o600)
  try {
    const buffer = Buffer.allocUnsafe(small)
    for (const { start, end } of dataRanges(source, size)) {
      for (let at = start; at < end; ) {
        if (turns.due()) await turns.next()
        const read = readSync(source, buffer, 0, Math.min(buffer.length, end - at), at)
        if (read === 0) break
        for (let done = 0; done < read; ) done += writeSync(target, buffer, done, read - done, at + done)
        at += read
      }
    }
    ftruncateSync(target, size)
  } finally {
    closeSync(target)
  }
}
