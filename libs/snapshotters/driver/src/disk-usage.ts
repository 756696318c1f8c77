import { closeSync, constants, readdirSync } from 'node:fs'
import { AT_FDCWD, errnoOf, fileType, openat, statWord, statWordCount, statWords } from '@flotilla/linux'
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
  const words = new Uint32Array(statWordCount)
  if (!statWords(root, AT_FDCWD, words)) throw notFound('snapshot directory')
  const [major, minor] = [words[statWord.deviceMajor], words[statWord.deviceMinor]]
  const turns = takeTurns(signal)
  const linked = new Set<bigint>()
  let [size, inodes] = [0, 0]

  /** Counts what `words` tell of; answers whether that is a directory. */
  function count(): boolean {
    const isDirectory = (word(words, statWord.mode) & fileType.mask) === fileType.directory
    if (!isDirectory && word(words, statWord.nlink) > 1) {
      // All 64 bits count: XFS uses high ones too.
      const inode = (BigInt(word(words, statWord.inode + 1)) << 32n) | BigInt(word(words, statWord.inode))
      if (linked.has(inode)) return false
      linked.add(inode)
    }
    size += wide(words, statWord.blocks) * blockSize
    inodes++
    return isDirectory
  }

  async function visit(directory: number): Promise<void> {
    const path = `/proc/self/fd/${directory}`
    // Text costs half; a name that is none shows by what stands for its bytes.
    const names = readdirSync(path)
    const all = names.some((name) => name.includes('\ufffd')) ? readdirSync(path, { encoding: 'buffer' }) : names
    for (const name of all) {
      if (turns.due()) await turns.next()
      if (!statWords(name, directory, words)) continue
      if (words[statWord.deviceMajor] !== major || words[statWord.deviceMinor] !== minor) continue
      if (count()) await enter(directory, name)
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

  count()
  await enter(-1, root)
  return { size, inodes }
}

const word = (words: Uint32Array, at: number) => words[at] ?? 0
// Exact: numbers of blocks stay below 2^53.
const wide = (words: Uint32Array, at: number) => word(words, at) + word(words, at + 1) * 2 ** 32
