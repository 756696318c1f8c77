import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { truncate, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Whether kernel and programs of this machine can make an ext4 and mount it from a file. */
export function hasExt4(): boolean {
  const known = readFileSync('/proc/filesystems', 'utf8').includes('\text4\n')
  return known && spawnSync('losetup', ['--find']).status === 0 && spawnSync('mkfs.ext4', ['-V']).status === 0
}

/** Makes a scratch file of 256 MiB, with a root directory that has nothing in it. */
export async function makeScratch(path: string): Promise<void> {
  await writeFile(path, '')
  await truncate(path, 256 << 20)
  await run('mkfs.ext4', ['-q', '-O', '^has_journal', path])
  await run('debugfs', ['-w', '-R', 'rmdir lost+found', path])
}
