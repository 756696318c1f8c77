import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdir, truncate, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { TempWorld } from '@flotilla/testing'

const run = promisify(execFile)

/** Less than btrfs's own minimum of 109 MiB would be refused. */
const size = 256 << 20

/** Whether kernel and programs of this machine can make a btrfs. */
export function hasBtrfs(): boolean {
  // Asking for the module loads it, where modules can be loaded.
  spawnSync('modprobe', ['btrfs'])
  const known = readFileSync('/proc/filesystems', 'utf8').includes('\tbtrfs\n')
  return known && spawnSync('mkfs.btrfs', ['--version']).status === 0
}

/** Mounts a new btrfs at a directory for as long as the world lasts. */
export async function mountBtrfs(directory: string, world: TempWorld): Promise<void> {
  const image = world.join('btrfs.img')
  await mkdir(directory)
  await writeFile(image, '')
  await truncate(image, size)
  await run('mkfs.btrfs', ['--quiet', image])
  await run('mount', ['-o', 'loop', image, directory])
  world.cleanup(async () => void (await run('umount', [directory])))
}
