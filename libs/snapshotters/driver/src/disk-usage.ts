import { closeSync, constants, readdirSync } from 'node:fs'
import { errnoOf, type FileStat, fileType, lstatx, openat } from '@flotilla/linux'
import { notFound } from '@flotilla/rpc'
import type { DiskUsage } from './driver.ts'
import { takeTurns } from './turns.ts'

const openDirectory = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/** Bytes in the unit of st_blocks, whatever the file system's own block is. */
const blockSize = 512

/**
 * What a tree needs on disk, its root included. It may be changed meanwhile: what vanishes is not counted. Other file
 * systems mounted inside are not entered. NOT_FOUND when there is no tree.
 */
export async function diskUsage(root: string, signal: AbortSignal): Promise<DiskUsage> {
  const top = lstatx(root)
  if (top === undefined) throw notFound('snapshot directory')
  const turns = takeTurns(signal)
  const linked = new Set<bigint>()
  let [size, inodes] = [0, 0]

  function count(stat: FileStat): void {
    if (stat.nlink > 1 && (stat.mode & fileType.mask) !== fileType.directory) {
      if (linked.has(stat.inode)) return
      linked.add(stat.inode)
    }
    size += stat.blocks * blockSize
    inodes++
  }

  async function visit(directory: number): Promise<void> {
    for (const name of readdirSync(`/proc/self/fd/${directory}`, { encoding: 'buffer' })) {
      if (turns.due()) await turns.next()
      const stat = lstatx(name, directory)
      if (stat === undefined || stat.device !== top?.device) continue
      count(stat)
      if ((stat.mode & fileType.mask) === fileType.directory) await enter(directory, name)
    }
  }

  async function enter(parent: number, name: Buffer | string): Promise<void> {
    let directory: number
    try {
      directory = openat(parent, name, openDirectory)
    } catch (error) {
      // Gone since it was looked at, or something else in its place.
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return
      throw error
    }
    try {
      await visit(directory)
    } finally {
      closeSync(directory)
    }
  }

  count(top)
  await enter(-1, root)
  return { size, inodes }
}
