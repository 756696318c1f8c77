import { mkdir, realpath, statfs } from 'node:fs/promises'
import { mountInfo } from '@flotilla/linux'

/** The magic number of btrfs, statfs(2). */
const btrfsMagic = 0x9123683e

/** The device of the btrfs that a directory is on. Rejects with the reason when it is on another file system. */
export async function deviceOf(root: string): Promise<string> {
  await mkdir(root, { recursive: true, mode: 0o700 })
  const real = `${await realpath(root)}/`
  const holders = mountInfo().filter(({ target }) => real.startsWith(target === '/' ? '/' : `${target}/`))
  // The longest is nearest; of those on one place the last is on top.
  const holder = holders.reduce((best, one) => (one.target.length >= best.target.length ? one : best))
  if ((await statfs(root)).type !== btrfsMagic || holder.type !== 'btrfs')
    throw new Error(`path ${root} (${holder.type}) must be a btrfs filesystem to be used with the btrfs snapshotter`)
  return holder.source
}
