import { chmod } from 'node:fs/promises'
import { type DriverKind, diskUsage, openDirectories } from '@flotilla/snapshot-driver'
import { copyTree } from './copy-tree.ts'
import { mountsOf } from './mounts.ts'

/**
 * The driver that copies whole trees: `ROOT/snapshots/ID` is all of a snapshot. A view of a parent has no directory of
 * its own, its mount is the parent's.
 */
export function native(): DriverKind {
  return {
    name: 'native',
    async open(root, logger) {
      const directories = await openDirectories(root, logger)
      return {
        capabilities: [],
        async create({ readonly, parents }, signal) {
          const nearest = parents[0]
          if (nearest === undefined) return await directories.create((directory) => chmod(directory, 0o755))
          directories.require([nearest])
          if (readonly) return await directories.unused()
          return await directories.create((directory) => copyTree(directories.path(nearest), directory, signal))
        },
        async mounts({ id, readonly, parents }) {
          const tree = readonly ? (parents[0] ?? id) : id
          directories.require([tree])
          return mountsOf(directories.path(tree), readonly)
        },
        async usage({ id }, signal) {
          directories.require([id])
          return await diskUsage(directories.path(id), signal)
        },
        // Nothing to do: the tree is what was written.
        async commit({ id }, signal) {
          directories.require([id])
          return await diskUsage(directories.path(id), signal)
        },
        remove: (ids) => directories.remove(ids),
        ids: (age) => directories.ids(age),
        [Symbol.asyncDispose]: () => directories[Symbol.asyncDispose](),
      }
    },
  }
}
