import { PrepareSnapshotRequest } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { Mount } from '@flotilla/api/containerd/types/types'
import { UnpackRequest, type UnpackResponse } from '@flotilla/api/flotilla/diff/v1/diff'
import { lowerDirectories } from '@flotilla/linux'
import { type Call, unimplemented, withCall } from '@flotilla/rpc'
import { createSlots, type Slots } from '@flotilla/turns'
import type { TransferDeps } from './deps.ts'
import { toWire } from './descriptor.ts'
import {
  type ActiveLayer,
  checkDiffId,
  isHeld,
  type LayerEvents,
  type LayerSnapshot,
  ownKey,
  removeAfterwards,
  turnOf,
  unpacked,
  withActiveLayer,
} from './layer-snapshot.ts'

/** Layers of one image that are unpacked from content at a time; each holds a few files open. */
const atOnce = 4

/**
 * Makes snapshots of layers that are unpacked each by itself, as soon as its bytes come, in any order; then they are
 * committed one upon the other from the bottom. For snapshotters that can give a snapshot its parent when it is
 * committed, and for which an overlay's upper directory is what a snapshot adds to its parent.
 *
 * @throws UNIMPLEMENTED, leaving nothing, when it turns out that it cannot be done so
 */
export async function unpackApart(
  deps: TransferDeps,
  snapshots: readonly LayerSnapshot[],
  events: LayerEvents,
  call: Call,
): Promise<void> {
  const failed = new AbortController()
  const during = withCall(call, { signal: AbortSignal.any([call.signal, failed.signal]) })
  const tower: Tower = { deps, snapshots, events, slots: createSlots(atOnce), uppers: new Map(), done: [] }
  for (const at of snapshots.keys()) {
    const work = makeOne(tower, at, during)
    // What lies upon it fails too; the first to fail says why.
    work.catch((error: unknown) => failed.abort(error))
    tower.done.push(work)
  }
  await Promise.allSettled(tower.done)
  call.signal.throwIfAborted()
  if (failed.signal.aborted) throw failed.signal.reason
}

/** The snapshots of one image while they are made. */
interface Tower {
  readonly deps: TransferDeps
  /** From the bottom. */
  readonly snapshots: readonly LayerSnapshot[]
  readonly events: LayerEvents
  readonly slots: Slots
  /** Place in the tower → directory with the layer, of those that were made here. */
  readonly uppers: Map<number, string>
  /** For each place, settled when its snapshot is there. */
  readonly done: Promise<void>[]
}

async function makeOne(tower: Tower, at: number, call: Call): Promise<void> {
  const { deps, events } = tower
  const snapshot = snapshotAt(tower, at)
  const { chainId, layer, snapshotter } = snapshot
  using _ = await deps.turns.take(turnOf(snapshot, call), call.signal)
  if (await isHeld(deps, snapshotter, chainId, call)) await events.ready(layer)
  else if (!(await makeArriving(tower, at, call))) {
    await events.ready(layer)
    events.told?.(layer, 'extracting')
    const slot = await tower.slots.take(call.signal)
    try {
      await withActiveLayer(deps, snapshot, '', (active) => unpackInto(tower, at, active, '', slot, call), call)
    } finally {
      slot()
    }
  }
  await unpacked(deps, snapshot, events, call)
}

/** Unpacks a layer while its bytes come; false when that cannot be, and it is to be unpacked once they are there. */
async function makeArriving(tower: Tower, at: number, call: Call): Promise<boolean> {
  const { deps, events } = tower
  const snapshot = snapshotAt(tower, at)
  const { layer } = snapshot
  const ingest = await events.arriving?.(layer)
  if (ingest === undefined) return false
  try {
    await withActiveLayer(deps, snapshot, '', (active) => unpackInto(tower, at, active, ingest, undefined, call), call)
    return true
  } catch (error) {
    call.signal.throwIfAborted()
    // When its bytes are not what they should be, that is the reason; this throws it.
    await events.ready(layer)
    // What came first may have been dropped and sent again, or too many do this at once.
    deps.logger.debug({ err: error, digest: layer.digest }, 'a layer could not be unpacked as it came')
    return false
  }
}

/** @param unpackedNow called when all of the layer is in the snapshot, which then only waits for those below */
async function unpackInto(
  tower: Tower,
  at: number,
  { mounts, commit }: ActiveLayer,
  ingest: string,
  unpackedNow: (() => void) | undefined,
  call: Call,
): Promise<void> {
  const { deps, events } = tower
  const snapshot = snapshotAt(tower, at)
  const { layer } = snapshot
  const upper = upperOf(mounts, snapshot)
  const request = { diff: toWire(layer), mounts: at === 0 ? [...mounts] : [overlayOf(upper)], ingest }
  const stop = new AbortController()
  const signal = AbortSignal.any([call.signal, stop.signal])
  const unpacking = deps.layers.unpack(UnpackRequest.fromPartial(request), withCall(call, { signal }))
  const checked = ingest === '' ? undefined : readyWhile(unpacking, events, snapshot)
  // Bytes that will not come are not waited for.
  checked?.catch((error: unknown) => stop.abort(error))
  await Promise.allSettled([unpacking, checked])
  await checked
  const { applied, implied } = await unpacking
  unpackedNow?.()
  checkDiffId(applied?.digest, snapshot)
  // Its own failure is told by itself.
  if (at > 0) await tower.done[at - 1]
  if (at > 0 && implied.length > 0)
    await deps.layers.adoptParents({ upper, lowers: await directoriesOf(tower, at - 1, call), implied }, call)
  await commit(snapshot.parent)
  tower.uppers.set(at, upper)
}

/** Waits until a layer that is being unpacked is in content, its digest checked; from then on that is what is shown. */
async function readyWhile(unpacking: Promise<UnpackResponse>, events: LayerEvents, { layer }: LayerSnapshot) {
  let isUnpacked = false
  const settled = () => {
    isUnpacked = true
  }
  unpacking.then(settled, settled)
  await events.ready(layer)
  if (!isUnpacked) events.told?.(layer, 'extracting')
}

function snapshotAt({ snapshots }: Tower, at: number): LayerSnapshot {
  const snapshot = snapshots[at]
  if (snapshot === undefined) throw new Error(`no layer ${at}`)
  return snapshot
}

/** The directory that a snapshot without a parent consists of. */
function upperOf(mounts: readonly Mount[], { snapshotter }: LayerSnapshot): string {
  const [mount, ...others] = mounts
  if (mount?.type !== 'bind' || others.length > 0) throw unimplemented(`snapshots of ${snapshotter} are no directories`)
  return mount.source
}

/** As an overlay of nothing below it yet: whiteouts are to stay in it, for those that will be below. */
const overlayOf = (upper: string): Mount => ({
  type: 'overlay',
  source: 'overlay',
  target: '',
  options: [`upperdir=${upper}`],
})

/** The directories that a snapshot of the tower consists of, its own first. */
async function directoriesOf(tower: Tower, at: number, call: Call): Promise<string[]> {
  const own = tower.uppers.get(at)
  if (own === undefined) return await viewed(tower.deps, snapshotAt(tower, at), call)
  return at === 0 ? [own] : [own, ...(await directoriesOf(tower, at - 1, call))]
}

/** The same for one that was there, or that somebody else made. */
async function viewed(deps: TransferDeps, { snapshotter, chainId }: LayerSnapshot, call: Call): Promise<string[]> {
  const key = ownKey('view', chainId)
  const request = PrepareSnapshotRequest.fromPartial({ snapshotter, key, parent: chainId })
  const { mounts } = await deps.snapshots.view({ ...request, labels: {} }, call)
  try {
    const [mount, ...others] = mounts
    if (others.length === 0 && mount?.type === 'bind') return [mount.source]
    if (others.length === 0 && mount?.type === 'overlay') return lowerDirectories(mount.options)
    throw unimplemented(`snapshots of ${snapshotter} are no directories`)
  } finally {
    await removeAfterwards(deps, snapshotter, key, call)
  }
}
