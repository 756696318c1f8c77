import { randomBytes } from 'node:crypto'
import { UpdateRequest } from '@flotilla/api/containerd/services/content/v1/content'
import { ApplyRequest } from '@flotilla/api/containerd/services/diff/v1/diff'
import { CommitSnapshotRequest, PrepareSnapshotRequest } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { chainIds, type Descriptor } from '@flotilla/oci'
import { type Call, hasCode, status, unknown, withCall } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'
import { toWire } from './descriptor.ts'

/** Where a snapshot's identity is told to its driver. */
const targetLabel = 'containerd.io/snapshot.ref'

export const defaultSnapshotter = 'overlayfs'

export interface UnpackRequest {
  readonly snapshotter: string
  /** From the bottom. */
  readonly layers: readonly Descriptor[]
  /** Of the uncompressed layers. */
  readonly diffIds: readonly string[]
  readonly config: Descriptor
  /** Resolves when a layer is in content. */
  ready(layer: Descriptor): Promise<void>
  /** Hears what happens to a layer. */
  told?(layer: Descriptor, event: 'extracting' | 'extracted'): void
}

/** Makes the snapshots of an image's layers that are not there yet; the lease holds them all. Answers the top one. */
export async function unpack(deps: TransferDeps, request: UnpackRequest, call: Call): Promise<void> {
  const { config, diffIds, layers, snapshotter } = request
  if (layers.length !== diffIds.length)
    throw unknown(`number of layers and diffIDs don't match: ${layers.length} != ${diffIds.length}`)
  const chain = chainIds(diffIds)
  for (const [at, layer] of layers.entries()) {
    const chainId = chain[at] ?? ''
    const diffId = diffIds[at] ?? ''
    using _ = await deps.turns.take(`${call.namespace} ${snapshotter} ${chainId}`, call.signal)
    if (!(await isHeld(deps, snapshotter, chainId, call))) {
      await request.ready(layer)
      request.told?.(layer, 'extracting')
      await make(deps, { snapshotter, chainId, diffId, layer, parent: chain[at - 1] ?? '' }, call)
    } else await request.ready(layer)
    await label(deps, layer.digest, 'containerd.io/uncompressed', diffId, call)
    request.told?.(layer, 'extracted')
  }
  const top = chain.at(-1)
  if (top !== undefined) await label(deps, config.digest, `containerd.io/gc.ref.snapshot.${snapshotter}`, top, call)
}

/** Whether a snapshot is there, and stays as long as the lease does. */
async function isHeld(deps: TransferDeps, snapshotter: string, key: string, call: Call): Promise<boolean> {
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

interface Making {
  readonly snapshotter: string
  readonly chainId: string
  readonly diffId: string
  readonly layer: Descriptor
  readonly parent: string
}

async function make(deps: TransferDeps, making: Making, call: Call): Promise<void> {
  const { chainId, diffId, layer, parent, snapshotter } = making
  const key = `extract-${process.hrtime.bigint()}-${randomBytes(3).toString('base64url')} ${chainId}`
  const labels = { [targetLabel]: chainId }
  try {
    const prepared = await deps.snapshots.prepare(
      PrepareSnapshotRequest.fromPartial({ snapshotter, key, parent, labels }),
      call,
    )
    const { applied } = await deps.diff.apply(
      ApplyRequest.fromPartial({ diff: toWire(layer), mounts: prepared.mounts }),
      call,
    )
    if (applied?.digest !== diffId)
      throw unknown(`wrong diff id "${applied?.digest}" calculated on extraction "${diffId}"`)
    await deps.snapshots.commit(CommitSnapshotRequest.fromPartial({ snapshotter, name: chainId, key, labels }), call)
  } catch (error) {
    const after = withCall(call, { signal: new AbortController().signal, deadline: undefined })
    await deps.snapshots.remove({ snapshotter, key }, after).catch((failure: unknown) => {
      if (!hasCode(failure, status.NOT_FOUND))
        deps.logger.warn({ err: failure, snapshotter, key }, 'could not remove the snapshot of a failed unpack')
    })
    // Somebody else made it at the same time.
    if (hasCode(error, status.ALREADY_EXISTS) && (await isHeld(deps, snapshotter, chainId, call))) return
    throw error
  }
}

/** Sets one label of content. */
export async function label(deps: TransferDeps, digest: string, key: string, value: string, call: Call): Promise<void> {
  await labels(deps, digest, { [key]: value }, call)
}

/** Sets labels of content, leaving its others as they are. */
export async function labels(
  deps: TransferDeps,
  digest: string,
  wanted: Readonly<Record<string, string>>,
  call: Call,
): Promise<void> {
  const paths = Object.keys(wanted).map((key) => `labels.${key}`)
  if (paths.length === 0) return
  await deps.content.update(
    UpdateRequest.fromPartial({ info: { digest, labels: { ...wanted } }, updateMask: paths }),
    call,
  )
}
