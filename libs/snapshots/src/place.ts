import { childrenTable, type Resource, snapshotTable, trashTable } from '@flotilla/metadata'
import { type Call, requireNamespace } from '@flotilla/rpc'

/** Metadata by which a gateway, or a caller at the cluster's endpoint, names a node. */
const nodeHeader = 'flotilla-node'

/** The node that a call is about: the one it names, else the one given. */
export const nodeOf = (call: Call, localNode: string): string => call.metadata.get(nodeHeader) || localNode

/** One snapshotter of one node in one namespace: keys and names are unique in here. */
export interface Place {
  readonly namespace: string
  readonly node: string
  readonly snapshotter: string
  /** Member of the set of stores that the namespace has used. */
  readonly store: string
  readonly snapshots: string
  readonly children: string
  readonly trash: string
}

export function placeOf(call: Call, node: string, snapshotter: string): Place {
  return {
    namespace: requireNamespace(call),
    node,
    snapshotter,
    store: `${node}/${snapshotter}`,
    snapshots: snapshotTable(node, snapshotter),
    children: childrenTable(node, snapshotter),
    trash: trashTable(node, snapshotter),
  }
}

/** What leases and the collector call a snapshot. */
export const resourceOf = (place: Place, key: string): Resource => ({
  type: `snapshots/${place.snapshotter}`,
  id: key,
})
