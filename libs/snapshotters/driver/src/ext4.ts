import { open } from 'node:fs/promises'

/** What the superblock of a file says; numbers are right when it is not mounted. */
export interface Ext4 {
  /** Bytes in use, those that the file system needs for itself included. */
  readonly used: number
  /** Inodes in use, those that the file system has for itself included. */
  readonly inodes: number
  /** Whether it was unmounted, so that no change waits in the journal. */
  readonly clean: boolean
}

// ext4's superblock, Documentation/filesystems/ext4/super.rst.
const superblock = { at: 1024, size: 1024 }
const magic = 0xef53
const needsRecovery = 0x4
const with64bit = 0x80
const unmounted = 0x1

/** Reads the superblock of a file. Rejects for what is no ext4 (or ext2, ext3) file system. */
export async function readExt4(path: string): Promise<Ext4> {
  await using file = await open(path, 'r')
  const data = Buffer.alloc(superblock.size)
  await file.read(data, 0, data.length, superblock.at)
  if (data.readUInt16LE(0x38) !== magic) throw new Error(`${path} holds no ext4 file system`)
  const incompatible = data.readUInt32LE(0x60)
  const blockSize = 1024 << data.readUInt32LE(0x18)
  const high = (at: number) => ((incompatible & with64bit) !== 0 ? data.readUInt32LE(at) * 2 ** 32 : 0)
  const blocks = data.readUInt32LE(0x4) + high(0x150)
  const free = data.readUInt32LE(0xc) + high(0x158)
  return {
    used: (blocks - free) * blockSize,
    inodes: data.readUInt32LE(0x0) - data.readUInt32LE(0x10),
    clean: (incompatible & needsRecovery) === 0 && (data.readUInt16LE(0x3a) & unmounted) !== 0,
  }
}
