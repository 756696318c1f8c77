import { execFile } from 'node:child_process'
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { errnoOf } from '@flotilla/linux'
import { readExt4 } from '@flotilla/snapshot-driver'

const run = promisify(execFile)

/** The file systems that a device can have. */
export type FileSystem = 'ext4' | 'xfs' | 'ext2'

/** What a device holds. */
export interface Content {
  /** Bytes of the pool. */
  readonly size: number
  /** Inodes in use, those that the file system has for itself included; right when it is not mounted. */
  readonly inodes: number
}

/**
 * As containerd does: everything is written now, not by the kernel when it has the time, which would go into every
 * snapshot anew; nothing is discarded, since a new device has nothing.
 */
const usual: Record<FileSystem, readonly string[]> = {
  ext4: ['-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0'],
  ext2: ['-E', 'nodiscard,lazy_itable_init=0'],
  xfs: ['-K'],
}

/** Makes a file system without anything in it. */
export async function makeFileSystem(
  type: FileSystem,
  options: readonly string[],
  path: string,
  signal: AbortSignal,
): Promise<void> {
  await program(`mkfs.${type}`, ['-q', ...(options.length > 0 ? options : usual[type]), path], signal)
  if (type === 'xfs') return
  const before = await readExt4(path)
  await program('debugfs', ['-w', '-R', 'rmdir lost+found', path], signal)
  // It says that all is well whatever happened.
  if ((await readExt4(path)).inodes !== before.inodes - 1) throw new Error('lost+found could not be removed')
}

/** Inodes that are in use. */
export async function inodesIn(type: FileSystem, path: string): Promise<number> {
  return type === 'xfs' ? await inodesOfXfs(path) : (await readExt4(path)).inodes
}

/** Those that there is room for without those that are free, fs/xfs/libxfs/xfs_format.h. */
async function inodesOfXfs(path: string): Promise<number> {
  await using file = await open(path, 'r')
  const superblock = Buffer.alloc(512)
  await file.read(superblock, 0, superblock.length, 0)
  if (superblock.toString('latin1', 0, 4) !== 'XFSB') throw new Error(`${path} holds no xfs file system`)
  return Number(superblock.readBigUInt64BE(128) - superblock.readBigUInt64BE(136))
}

async function program(name: string, args: readonly string[], signal: AbortSignal): Promise<void> {
  try {
    await run(name, args, { signal })
  } catch (error) {
    signal.throwIfAborted()
    if (errnoOf(error) === 'ENOENT') throw new Error(`${name} is not installed`, { cause: error })
    throw error
  }
}
