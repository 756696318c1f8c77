import type { ImageStore } from '@flotilla/api/containerd/types/transfer/transfer'
import { type Call, hasCode, invalidArgument, status } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'
import { defaultSnapshotter } from './unpack.ts'

/**
 * A store without those of its configurations for unpacking whose snapshotters this node does not have, as containerd
 * leaves them out.
 *
 * @throws INVALID_ARGUMENT when none is left of those asked for
 */
export async function withOwnSnapshotters(deps: TransferDeps, store: ImageStore, call: Call): Promise<ImageStore> {
  if (store.unpacks.length === 0) return store
  const asked = new Set(store.unpacks.map(({ snapshotter }) => snapshotter || defaultSnapshotter))
  const loaded = new Set<string>()
  for (const snapshotter of asked) if (await isLoaded(deps, snapshotter, call)) loaded.add(snapshotter)
  const missing = [...asked.difference(loaded)]
  if (missing.length === 0) return store
  if (loaded.size === 0)
    throw invalidArgument(`unable to initialize unpacker: no unpack platforms defined: no snapshotter ${missing}`)
  deps.logger.warn({ image: store.name, snapshotters: missing }, 'not unpacked by snapshotters that are not loaded')
  return { ...store, unpacks: store.unpacks.filter(({ snapshotter }) => loaded.has(snapshotter || defaultSnapshotter)) }
}

async function isLoaded(deps: TransferDeps, snapshotter: string, call: Call): Promise<boolean> {
  try {
    await deps.snapshots.stat({ snapshotter, key: 'whether there is a snapshotter' }, call)
  } catch (error) {
    if (hasCode(error, status.INVALID_ARGUMENT)) return false
    if (!hasCode(error, status.NOT_FOUND)) throw error
  }
  return true
}
