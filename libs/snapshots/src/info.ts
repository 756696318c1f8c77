import type { Info } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import { nodeLabel } from './labels.ts'

/** A record as it is stored: what Update answers, since callers compare that with what they sent. */
export function storedInfo(snapshot: Snapshot): Info {
  // The numbers of the kinds are the same in both.
  return {
    name: snapshot.key,
    parent: snapshot.parent,
    kind: snapshot.kind,
    createdAt: snapshot.createdAt,
    updatedAt: snapshot.updatedAt,
    labels: snapshot.labels,
  }
}

/** A record with its place, as Stat and List tell it. */
export function infoOf(snapshot: Snapshot, node: string): Info {
  return { ...storedInfo(snapshot), labels: { ...snapshot.labels, [nodeLabel]: node } }
}
