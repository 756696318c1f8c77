import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Whether kernel and programs of this machine can make an EROFS image and mount it. */
export function hasErofs(): boolean {
  spawnSync('modprobe', ['erofs'])
  const known = readFileSync('/proc/filesystems', 'utf8').includes('\terofs\n')
  return known && spawnSync('mkfs.erofs', ['--help']).error === undefined
}
