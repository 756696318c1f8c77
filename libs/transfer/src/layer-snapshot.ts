import { randomBytes } from 'node:crypto'
import { CommitSnapshotRequest, PrepareSnapshotRequest } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { Mount } from '@flotilla/api/containerd/types/types'
import type { Descriptor } from '@flotilla/oci'
import { type Call, hasCode, status, unknown, withCall } from '@flotilla/rpc'
import { labels } from './content-labels.ts'
import type { TransferDeps } from './deps.ts'

/** Where a snapshot's identity is told to its driver. */
const targetLabel = 'containerd.io/snapshot.ref'

/** A snapshot to be made of a layer. */
export interface LayerSnapshot {
  readonly snapshotter: string
  /** Its name, once it is committed. */
  readonly chainId: string
  /** Digest of the uncompressed layer. */
  readonly diffId: string
  readonly layer: Descriptor
  /** Name of the snapshot below; empty for the bottom. */
  readonly parent: string
  /** What its driver is told of the layer. */
  readonly labels: Readonly<Record<string, string>>
}

/** How unpacking hears of layers, and tells of them. */
export interface LayerEvents {
  /** Resolves when a layer is in content, its digest checked. */
  ready(layer: Descriptor): Promise<void>
  /**
   * Resolves when the first bytes of a layer have come, to the ingest that they come to; to undefined where it is not
   * worth while to unpack it before all of it is there.
   */
  arriving?(layer: Descriptor): Promise<string | undefined>
  /** Hears what happens to a layer. */
  told?(layer: Descriptor, event: 'extracting' | 'extracted'): void
}

/** Whether a snapshot is there, and stays as long as the lease does. */
export async function isHeld(deps: TransferDeps, snapshotter: string, key: string, call: Call): Promise<boolean> {
  const isThere = async () => {
    try {
      await deps.snapshots.stat({ snapshotter, key }, call)
      return true
    } catch (error) {
      if (hasCode(error, status.NOT_FOUND)) return false
      throw error
    }
  }
  if (!(await isThere())) return false
  const resource = { id: key, type: `snapshots/${snapshotter}` }
  await deps.leases.addResource({ id: call.lease ?? '', resource }, call)
  // It may have been collected in between.
  return await isThere()
}

/** A key for a snapshot of this process's own, of a kind and for a name. */
export const ownKey = (kind: string, chainId: string) =>
  `${kind}-${process.hrtime.bigint()}-${randomBytes(3).toString('base64url')} ${chainId}`

/** Removes a snapshot that only this process knows of, also when the caller has left. */
export async function removeAfterwards(
  deps: TransferDeps,
  snapshotter: string,
  key: string,
  call: Call,
): Promise<void> {
  const after = withCall(call, { signal: new AbortController().signal, deadline: undefined })
  await deps.snapshots.remove({ snapshotter, key }, after).catch((err: unknown) => {
    if (!hasCode(err, status.NOT_FOUND)) deps.logger.warn({ err, snapshotter, key }, 'could not remove a snapshot')
  })
}

/** A snapshot that is written to. */
export interface ActiveLayer {
  readonly mounts: readonly Mount[]
  /** @param onto the snapshot below, when it was made without one */
  commit(onto?: string): Promise<void>
}

/**
 * Makes an active snapshot for a layer and lets `fill` write and commit it. When that fails nothing of it stays; when
 * somebody else has made the same meanwhile, that one is taken, and the answer is undefined.
 */
export async function withActiveLayer<T>(
  deps: TransferDeps,
  { snapshotter, chainId, labels }: LayerSnapshot,
  parent: string,
  fill: (active: ActiveLayer) => Promise<T>,
  call: Call,
): Promise<T | undefined> {
  const key = ownKey('extract', chainId)
  const own = { ...labels, [targetLabel]: chainId }
  try {
    const { mounts } = await deps.snapshots.prepare(
      PrepareSnapshotRequest.fromPartial({ snapshotter, key, parent, labels: { ...own, ...deps.unpackings.labels } }),
      call,
    )
    const commit = async (onto = '') => {
      const request = CommitSnapshotRequest.fromPartial({ snapshotter, name: chainId, key, labels: own, parent: onto })
      await deps.snapshots.commit(request, call)
    }
    return await fill({ mounts, commit })
  } catch (error) {
    await removeAfterwards(deps, snapshotter, key, call)
    // Somebody else made it at the same time.
    if (hasCode(error, status.ALREADY_EXISTS) && (await isHeld(deps, snapshotter, chainId, call))) return undefined
    throw error
  }
}

export function checkDiffId(found: string | undefined, { diffId }: LayerSnapshot): void {
  if (found !== diffId) throw unknown(`wrong diff id "${found}" calculated on extraction "${diffId}"`)
}

/** Whoever makes a snapshot takes its turn, so that it is made once. */
export const turnOf = ({ snapshotter, chainId }: LayerSnapshot, call: Call): string =>
  `${call.namespace} ${snapshotter} ${chainId}`

/** Notes and tells that a layer's snapshot is there. */
export async function unpacked(
  deps: TransferDeps,
  { layer, diffId }: LayerSnapshot,
  events: LayerEvents,
  call: Call,
): Promise<void> {
  await labels(deps, layer.digest, { 'containerd.io/uncompressed': diffId }, call)
  events.told?.(layer, 'extracted')
}
