import {
  childrenTable,
  type Metadata,
  parseStoreName,
  type Resource,
  snapshotTable,
  storeName,
  tables,
  trashTable,
} from '@flotilla/metadata'
import { type Call, requireNamespace } from '@flotilla/rpc'

/** Metadata by which a gateway, or a caller at the cluster's endpoint, names a node. */
const nodeHeader = 'flotilla-node'

/** Whether a call that names no node leaves the choice to the scheduler, as those at the cluster's endpoint do. */
export const isScheduled = (call: Call): boolean => call.metadata.get('flotilla-node-by') === 'scheduler'

/** The node that a call names; undefined when it leaves that to us. */
export const namedNode = (call: Call): string | undefined => call.metadata.get(nodeHeader) || undefined

/** A node for a snapshot that nothing binds to one; of those in `only`, if that is given. */
export type Schedule = (wish: {
  readonly snapshotter: string
  readonly only?: ReadonlySet<string>
}) => Promise<{ readonly node: string }>

export interface Placement {
  readonly metadata: Metadata
  readonly localNode: string
  readonly schedule?: Schedule | undefined
}

/** Nodes on which a namespace ever had snapshots of a snapshotter. */
export async function nodesWith(metadata: Metadata, call: Call, snapshotter: string): Promise<string[]> {
  const stores = await metadata.members(requireNamespace(call), tables.snapshotStores)
  return stores
    .map(parseStoreName)
    .filter((store) => store.snapshotter === snapshotter)
    .map(({ node }) => node)
}

async function nodesHaving({ metadata }: Placement, call: Call, snapshotter: string, key: string): Promise<string[]> {
  const nodes = await nodesWith(metadata, call, snapshotter)
  const namespace = requireNamespace(call)
  const records = await Promise.all(nodes.map((node) => metadata.get(namespace, snapshotTable(node, snapshotter), key)))
  return nodes.filter((_, index) => records[index] !== undefined)
}

/** The node of a snapshot that a call which names no node is about. */
export async function nodeOfKey(placement: Placement, call: Call, snapshotter: string, key: string): Promise<string> {
  if (placement.schedule === undefined) return placement.localNode
  const having = await nodesHaving(placement, call, snapshotter, key)
  return having.includes(placement.localNode) ? placement.localNode : (having[0] ?? placement.localNode)
}

/** The node for a new snapshot of a call which names no node: one that has the parent, or the least loaded. */
export async function nodeForNew(
  placement: Placement,
  call: Call,
  snapshotter: string,
  { key, parent }: { readonly key: string; readonly parent: string },
): Promise<string> {
  if (placement.schedule === undefined) return placement.localNode
  // Whoever asks again for a key is to hear of it where it is.
  const having = await nodesHaving(placement, call, snapshotter, key)
  if (having[0] !== undefined) return having[0]
  if (parent === '') return (await placement.schedule({ snapshotter })).node
  const only = new Set(await nodesHaving(placement, call, snapshotter, parent))
  return only.size === 0 ? placement.localNode : (await placement.schedule({ snapshotter, only })).node
}

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
    store: storeName(node, snapshotter),
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
