import { execFile } from 'node:child_process'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { failedPrecondition } from '@flotilla/rpc'
import { type Directory, type DiskUsage, type DriverKind, openDirectories, readExt4 } from '@flotilla/snapshot-driver'

const run = promisify(execFile)

export interface BlockfileOptions {
  /** File with the ext4 file system that a snapshot without a parent begins with; empty: the driver is not to be used. */
  readonly scratchFile: string
}

/** The driver of files that hold a file system: `ROOT/snapshots/ID/image`. A view of a parent mounts the parent's. */
export function blockfile({ scratchFile }: BlockfileOptions): DriverKind {
  return {
    name: 'blockfile',
    async open(root, logger) {
      if (scratchFile === '') throw new Error('no scratch file is configured (blockfile.scratch_file)')
      const empty = await readExt4(scratchFile)
      if (!empty.clean) throw new Error(`${scratchFile} was not unmounted cleanly`)
      const directories = await openDirectories(root, logger)
      const imageOf = (id: string) => join(directories.path(id), 'image')

      /** What its file system has more than the scratch one, and its root. */
      function usageOf({ used, inodes }: { readonly used: number; readonly inodes: number }): DiskUsage {
        return { size: Math.max(0, used - empty.used), inodes: Math.max(0, inodes - empty.inodes) + 1 }
      }

      async function commit({ id }: Directory): Promise<DiskUsage> {
        directories.require([id])
        const state = await readExt4(imageOf(id))
        if (!state.clean)
          throw failedPrecondition('it is mounted, or was not unmounted: a copy of it would not be whole')
        return usageOf(state)
      }

      return {
        capabilities: [],
        async create({ readonly, parents: [nearest] }, signal) {
          if (nearest !== undefined) directories.require([nearest])
          if (nearest !== undefined && readonly) return await directories.unused()
          return await directories.create(async (directory) => {
            const image = join(directory, 'image')
            const from = nearest === undefined ? scratchFile : imageOf(nearest)
            await run('cp', ['--reflink=auto', '--sparse=auto', '--', from, image], { signal })
            await chmod(image, 0o600)
          })
        },
        async mounts({ id, parents, readonly }) {
          const image = readonly ? (parents[0] ?? id) : id
          directories.require([image])
          const options = ['loop', readonly ? 'ro' : 'rw']
          return [{ type: 'ext4', source: imageOf(image), target: '', options }]
        },
        async usage({ id }) {
          directories.require([id])
          return usageOf(await readExt4(imageOf(id)))
        },
        commit,
        remove: (ids) => directories.remove(ids),
        ids: (age) => directories.ids(age),
        [Symbol.asyncDispose]: () => directories[Symbol.asyncDispose](),
      }
    },
  }
}
