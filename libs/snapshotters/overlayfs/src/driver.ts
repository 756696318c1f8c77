import { join } from 'node:path'
import { type DriverKind, diskUsage, openDirectories } from '@flotilla/snapshot-driver'
import { giveOwner, makeDirectory } from './directory.ts'
import { idMappingOf } from './id-mapping.ts'
import { mountsOf } from './mounts.ts'
import { overlaySupport } from './support.ts'

export interface OverlayfsOptions {
  /** Options for every overlay mount, such as `metacopy=on`. An `index=…` here replaces `index=off`. */
  readonly mountOptions?: readonly string[]
}

/**
 * The driver over the kernel's overlay file system.
 *
 *     ROOT/snapshots/ID/fs     what the snapshot changes, or everything when it has no parent
 *     ROOT/snapshots/ID/work   the kernel's scratch space; not in views
 */
export function overlayfs(options: OverlayfsOptions = {}): DriverKind {
  return {
    name: 'overlayfs',
    async open(root, logger) {
      const directories = await openDirectories(root, logger)
      const support = await overlaySupport(root)
      const own = (id: string) => join(directories.path(id), 'fs')
      const work = (id: string) => join(directories.path(id), 'work')
      const mountOptions = [...(options.mountOptions ?? []), ...support.mountOptions]
      if (mountOptions.filter((option) => option.startsWith('index=')).length > 1)
        mountOptions.splice(mountOptions.indexOf('index=off'), 1)

      return {
        capabilities: support.capabilities,
        async create({ readonly, parents, labels }) {
          directories.require(parents)
          const mapping = idMappingOf(labels, support.idMaps)
          const nearest = parents[0]
          return await directories.create((directory) =>
            makeDirectory(directory, { readonly, owner: mapping?.root, parent: nearest && own(nearest) }),
          )
        },
        async mounts({ id, readonly, parents, labels }) {
          directories.require([id, ...parents])
          return mountsOf({
            readonly,
            own: own(id),
            work: work(id),
            parents: parents.map(own),
            mapping: idMappingOf(labels, support.idMaps),
            mountOptions,
          })
        },
        async usage({ id }, signal) {
          directories.require([id])
          return await diskUsage(own(id), signal)
        },
        // The layer is what was written; its root looks like that of the tree below, as one made upon it does.
        async commit({ id, parents, rebased }, signal) {
          const nearest = rebased ? parents[0] : undefined
          directories.require(nearest === undefined ? [id] : [id, nearest])
          if (nearest !== undefined) giveOwner(own(id), own(nearest))
          return await diskUsage(own(id), signal)
        },
        remove: (ids) => directories.remove(ids),
        ids: (age) => directories.ids(age),
        [Symbol.asyncDispose]: () => directories[Symbol.asyncDispose](),
      }
    },
  }
}
