import { Info } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { Call } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'
import {
  type ActiveLayer,
  isHeld,
  type LayerEvents,
  type LayerSnapshot,
  turnOf,
  unpacked,
  withActiveLayer,
} from './layer-snapshot.ts'
import { applyLayer } from './unpack-stacked.ts'

/**
 * Makes snapshots one upon the other by a snapshotter that fetches layers by itself. Layers that it takes upon itself
 * are not downloaded; from the first on that it does not, they come to content and are unpacked.
 */
export async function unpackRemote(
  deps: TransferDeps,
  snapshots: readonly LayerSnapshot[],
  events: LayerEvents,
  call: Call,
): Promise<void> {
  for (const [at, snapshot] of snapshots.entries()) {
    const { chainId, layer, parent, snapshotter } = snapshot
    using _ = await deps.turns.take(turnOf(snapshot, call), call.signal)
    if (await isHeld(deps, snapshotter, chainId, call)) continue
    const fill = async (active: ActiveLayer) => {
      // It will hardly have those above; whoever fetches them hears when that fails.
      for (const above of snapshots.slice(at + 1)) void events.ready(above.layer).catch(() => {})
      await events.ready(layer)
      events.told?.(layer, 'extracting')
      await applyLayer(deps, snapshot, active, call)
      await unpacked(deps, snapshot, events, call)
      return true
    }
    if (await withActiveLayer(deps, snapshot, parent, fill, call)) continue
    const info = Info.fromPartial({ name: chainId })
    await deps.snapshots.update({ snapshotter, info, updateMask: [deps.unpackings.labelField] }, call)
  }
}
