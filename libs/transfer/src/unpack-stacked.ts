import { ApplyRequest } from '@flotilla/api/containerd/services/diff/v1/diff'
import type { Call } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'
import { toWire } from './descriptor.ts'
import {
  type ActiveLayer,
  checkDiffId,
  isHeld,
  type LayerEvents,
  type LayerSnapshot,
  turnOf,
  unpacked,
  withActiveLayer,
} from './layer-snapshot.ts'

/** Makes snapshots one upon the other, each once those below it are there, as every snapshotter can. */
export async function unpackStacked(
  deps: TransferDeps,
  snapshots: readonly LayerSnapshot[],
  events: LayerEvents,
  call: Call,
): Promise<void> {
  for (const snapshot of snapshots) {
    const { chainId, layer, parent, snapshotter } = snapshot
    using _ = await deps.turns.take(turnOf(snapshot, call), call.signal)
    const held = await isHeld(deps, snapshotter, chainId, call)
    await events.ready(layer)
    if (!held) {
      events.told?.(layer, 'extracting')
      await withActiveLayer(deps, snapshot, parent, (active) => applyLayer(deps, snapshot, active, call), call)
    }
    await unpacked(deps, snapshot, events, call)
  }
}

/** Unpacks a layer that is in content into a snapshot with all that lies below, and commits it. */
export async function applyLayer(
  deps: TransferDeps,
  snapshot: LayerSnapshot,
  { mounts, commit }: ActiveLayer,
  call: Call,
): Promise<void> {
  const request = ApplyRequest.fromPartial({ diff: toWire(snapshot.layer), mounts: [...mounts] })
  const { applied } = await deps.diff.apply(request, call)
  checkDiffId(applied?.digest, snapshot)
  await commit()
}
