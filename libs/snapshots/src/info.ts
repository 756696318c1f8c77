import type { Info } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import { nodeLabel } from './labels.ts'

/** A record as clients see it. The numbers of the kinds are the same in both. */
export function infoOf(snapshot: Snapshot, node: string): Info {
  return {
    name: snapshot.key,
    parent: snapshot.parent,
    kind: snapshot.kind,
    createdAt: snapshot.createdAt,
    updatedAt: snapshot.updatedAt,
    labels: { ...snapshot.labels, [nodeLabel]: node },
  }
}
