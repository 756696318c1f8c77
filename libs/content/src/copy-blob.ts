import { chmod, constants, copyFile } from 'node:fs/promises'

/** Copies a blob's bytes to a new, writable file; shares the blocks where the file system can. */
export async function copyBlob(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  await chmod(to, 0o600)
}
