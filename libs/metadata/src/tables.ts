/**
 * Where each kind of record lives. A table is one Redis hash or set of a containerd namespace; its key is
 * `fl:{NAMESPACE}:TABLE`, so all tables of a namespace are in one Redis Cluster slot.
 *
 * | table | type | field → value |
 * |---|---|---|
 * | namespace | hash | `record` → containerd.services.namespaces.v1.Namespace |
 * | images | hash | name → containerd.services.images.v1.Image |
 * | containers | hash | id → containerd.services.containers.v1.Container |
 * | content | hash | digest → containerd.services.content.v1.Info |
 * | ingests | hash | ref → flotilla.metadata.v1.Ingest |
 * | leases | hash | id → containerd.services.leases.v1.Lease |
 * | lease:ID | set | `TYPE\0ID` of each resource it holds |
 * | sandboxes | hash | id → containerd.types.Sandbox |
 * | snapshot-stores | set | `NODE/SNAPSHOTTER` of each that ever held a snapshot of this namespace |
 * | snapshots:NODE/SNAPSHOTTER | hash | key or name → flotilla.metadata.v1.Snapshot |
 * | children:NODE/SNAPSHOTTER | hash | parent's name → number of snapshots upon it |
 * | trash:NODE/SNAPSHOTTER | set | driver ids whose directories are to be removed |
 * | mounts:NODE | hash | name → flotilla.metadata.v1.Activation |
 * | events | stream | the outbox |
 * | journal | hash | node → last sequence number taken from its event journal |
 * | content-trash | set | digests whose record went and whose bytes no node was asked about since |
 * | gc-run, gc-dirty, gc-counters | hash, list, hash | a running collection, its write barrier, writes since the last |
 * | gc-memory, gc-changed | hash, set | which collector remembers the records, `TABLE\0FIELD` of each changed since |
 */
export const tables = {
  namespace: 'namespace',
  images: 'images',
  containers: 'containers',
  content: 'content',
  ingests: 'ingests',
  leases: 'leases',
  sandboxes: 'sandboxes',
  snapshotStores: 'snapshot-stores',
  outbox: 'events',
  journal: 'journal',
  contentTrash: 'content-trash',
  gcRun: 'gc-run',
  gcDirty: 'gc-dirty',
  gcCounters: 'gc-counters',
  gcMemory: 'gc-memory',
  gcChanged: 'gc-changed',
} as const

/** The set of resources that a lease holds. */
export const leaseTable = (id: string): string => `lease:${id}`
export const snapshotTable = (node: string, snapshotter: string): string => `snapshots:${node}/${snapshotter}`
export const childrenTable = (node: string, snapshotter: string): string => `children:${node}/${snapshotter}`
export const trashTable = (node: string, snapshotter: string): string => `trash:${node}/${snapshotter}`

/** A member of the set `snapshot-stores`: a snapshotter of a node. */
export const storeName = (node: string, snapshotter: string): string => `${node}/${snapshotter}`

export function parseStoreName(store: string): { readonly node: string; readonly snapshotter: string } {
  const slash = store.indexOf('/')
  return { node: store.slice(0, slash), snapshotter: store.slice(slash + 1) }
}

export const mountsTable = (node: string): string => `mounts:${node}`

/** The Redis key of a table. */
export const keyOf = (namespace: string, table: string): string => `fl:{${namespace}}:${table}`

/** Every namespace name ever used (a superset of those that exist), and the order in which they were first used. */
export const namespaceIndexKey = 'fl:{namespaces}:index'
export const namespaceLogKey = 'fl:{namespaces}:log'

/** Something that the garbage collector can reach: what a lease holds or a write touched. */
export interface Resource {
  /** `content`, `images`, `ingests`, `snapshots/SNAPSHOTTER`, `containers`, `leases` or `sandboxes`. */
  readonly type: string
  readonly id: string
}

export const resourceMember = (resource: Resource): string => `${resource.type}\0${resource.id}`

export function parseResourceMember(member: string): Resource {
  const at = member.indexOf('\0')
  return { type: member.slice(0, at), id: member.slice(at + 1) }
}

/**
 * Where the log of events lives; one Redis Cluster slot of its own.
 *
 * | key | type | content |
 * |---|---|---|
 * | `fl:{events}:log` | stream | entry id `SEQUENCE-0` → envelope (protobuf), node, outbox (entry id there), at (ms, when moved) |
 * | `fl:{events}:state` | hash | log (its id), sequence (last), at (of the last), first (oldest kept), trimmed-at (of the newest forgotten) |
 * | `fl:{events}:positions` | hash | namespace → id of the last outbox entry that is in the log |
 */
export const eventLogKey = 'fl:{events}:log'
export const eventStateKey = 'fl:{events}:state'
export const eventPositionsKey = 'fl:{events}:positions'
