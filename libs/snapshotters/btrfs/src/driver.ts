import { chmodSync } from 'node:fs'
import { rm, rmdir } from 'node:fs/promises'
import { errnoOf } from '@flotilla/linux'
import { type Directory, type DiskUsage, type DriverKind, diskUsage, openDirectories } from '@flotilla/snapshot-driver'
import { deviceOf } from './file-system.ts'
import { createSubvolume, destroySubvolume, snapshotSubvolume, subvolumeId } from './subvolume.ts'

/** The driver on btrfs: `ROOT/snapshots/ID` is a subvolume with all of a snapshot. */
export function btrfs(): DriverKind {
  return {
    name: 'btrfs',
    async open(root, logger) {
      const device = await deviceOf(root)
      const directories = await openDirectories(root, logger, erase)

      /** What the snapshot has more than its parent; blocks that both have count for neither. */
      async function usage({ id, parents }: Directory, signal: AbortSignal): Promise<DiskUsage> {
        directories.require([id])
        const all = await diskUsage(directories.path(id), signal)
        const [parent] = parents
        if (parent === undefined) return all
        const below = await diskUsage(directories.path(parent), signal)
        return { size: Math.max(0, all.size - below.size), inodes: Math.max(0, all.inodes - below.inodes) }
      }

      return {
        capabilities: [],
        async create({ parents: [nearest] }) {
          if (nearest !== undefined) directories.require([nearest])
          return await directories.create(async (directory) => {
            // The name is ours; what is to stand there is no directory.
            await rmdir(directory)
            if (nearest !== undefined) return snapshotSubvolume(directories.path(nearest), directory)
            createSubvolume(directory)
            chmodSync(directory, 0o755)
          })
        },
        async mounts({ id, readonly }) {
          directories.require([id])
          const options = [`subvolid=${subvolumeId(directories.path(id))}`, ...(readonly ? ['ro'] : [])]
          return [{ type: 'btrfs', source: device, target: '', options }]
        },
        usage,
        // Nothing to do: the subvolume is what was written.
        commit: usage,
        remove: (ids) => directories.remove(ids),
        ids: (age) => directories.ids(age),
        [Symbol.asyncDispose]: () => directories[Symbol.asyncDispose](),
      }
    },
  }
}

/** Deletes a subvolume at once; one that a container made others in, or a directory that never became one, file by file. */
async function erase(path: string): Promise<void> {
  try {
    destroySubvolume(path)
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EINVAL', 'ENOTDIR'].includes(errnoOf(error) ?? '')) throw error
    await rm(path, { recursive: true, force: true })
  }
}
