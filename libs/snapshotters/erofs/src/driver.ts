import { lstatSync } from 'node:fs'
import { chmod, chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type DriverKind, type DriverMount, diskUsage, openDirectories } from '@flotilla/snapshot-driver'
import { openLowers } from './lowers.ts'
import { requireErofs } from './support.ts'

/**
 * The driver of layers in EROFS images, joined by the kernel's overlay.
 *
 *     ROOT/snapshots/ID/fs           what the snapshot changes, until others build upon it
 *     ROOT/snapshots/ID/work         the kernel's scratch space; not in views
 *     ROOT/snapshots/ID/layer.erofs  the same as an image, once it is committed
 *     ROOT/lower/ID                  where that is mounted, from the first use to the removal
 */
export function erofs(): DriverKind {
  return {
    name: 'erofs',
    async open(root, logger) {
      await requireErofs()
      const directories = await openDirectories(root, logger)
      const lowers = await openLowers(root, directories.path)
      const own = (id: string) => join(directories.path(id), 'fs')

      return {
        capabilities: [],
        async create({ readonly, parents: [nearest] }) {
          if (nearest !== undefined) directories.require([nearest])
          const below = nearest === undefined ? undefined : lstatSync(await lowers.mounted(nearest))
          return await directories.create(async (directory) => {
            const fs = join(directory, 'fs')
            await mkdir(fs)
            await chmod(fs, below === undefined ? 0o755 : below.mode & 0o7777)
            if (below !== undefined) await chown(fs, below.uid, below.gid)
            if (!readonly) await mkdir(join(directory, 'work'), { mode: 0o711 })
          })
        },
        async mounts({ id, readonly, parents }) {
          directories.require([id, ...parents])
          const layers = await Promise.all(parents.map((parent) => lowers.mounted(parent)))
          return mountsOf(readonly, own(id), join(directories.path(id), 'work'), layers)
        },
        async usage({ id }, signal) {
          directories.require([id])
          return await diskUsage(own(id), signal)
        },
        async commit({ id }, signal) {
          directories.require([id])
          await lowers.make(id, signal)
          return await diskUsage(own(id), signal)
        },
        async remove(ids) {
          for (const id of ids) await lowers.unmount(id)
          await directories.remove(ids)
        },
        ids: (age) => directories.ids(age),
        // Layers stay mounted: containers that run on them outlive us.
        [Symbol.asyncDispose]: () => directories[Symbol.asyncDispose](),
      }
    },
  }
}

/** @param layers of the parents, nearest first */
function mountsOf(readonly: boolean, own: string, work: string, layers: readonly string[]): DriverMount[] {
  const [nearest] = layers
  // An overlay has two directories at least.
  if (nearest === undefined || (readonly && layers.length === 1))
    return [{ type: 'bind', source: nearest ?? own, target: '', options: ['rbind', readonly ? 'ro' : 'rw'] }]
  const writable = readonly ? [] : [`workdir=${work}`, `upperdir=${own}`]
  const options = [...writable, `lowerdir=${layers.join(':')}`, 'index=off']
  return [{ type: 'overlay', source: 'overlay', target: '', options }]
}
