import { NamespaceDelete } from '@flotilla/api/containerd/events/events'
import {
  type Check,
  eventOf,
  leaseTable,
  type Metadata,
  parseStoreName,
  snapshotTable,
  tables,
  type Write,
} from '@flotilla/metadata'
import { aborted, failedPrecondition, notFound } from '@flotilla/rpc'

/** What the messages call the tables that must be empty, in the order in which they are named. */
const keeping = [
  { table: tables.images, name: 'images' },
  { table: tables.content, name: 'blobs' },
  { table: tables.containers, name: 'containers' },
] as const

interface Guarded {
  readonly table: string
  readonly name: string
}

/** The tables of snapshots, one for each node and snapshotter that ever held one, in the order of snapshotter names. */
async function snapshotTables(metadata: Metadata, namespace: string): Promise<Guarded[]> {
  const stores = await metadata.members(namespace, tables.snapshotStores)
  return stores
    .map((store) => {
      const { node, snapshotter } = parseStoreName(store)
      return {
        table: snapshotTable(node, snapshotter),
        name: `snapshots on "${snapshotter}" snapshotter`,
      }
    })
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

/**
 * Removes a namespace in which nothing is left but leases, ingests and sandboxes; those go with it. Which tables there
 * are (leases have one each, snapshot stores too) has to be read first, so the step that removes them also demands that
 * the namespace's count of writes is what it was before the reading, and all is read again when it is not.
 *
 * The outbox stays, for the event of the deletion itself is in it; so do the nodes' journal positions, or events
 * already taken would come twice, and the lists of snapshot directories that nodes have yet to remove.
 */
export async function deleteNamespace(metadata: Metadata, name: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const mutations = await metadata.get(name, tables.gcCounters, 'mutations')
    if ((await metadata.get(name, tables.namespace, 'record')) === undefined) throw notFound(`namespace "${name}"`)

    const guarded: Guarded[] = [...keeping, ...(await snapshotTables(metadata, name))]
    const sizes = await Promise.all(guarded.map(({ table }) => metadata.size(name, table)))
    const left = new Set(guarded.filter((_, index) => sizes[index] !== 0).map((table) => table.name))
    if (left.size > 0)
      throw failedPrecondition(`namespace "${name}" must be empty, but it still has ${[...left].join(', ')}`)

    const leases = (await metadata.all(name, tables.leases)).map(([id]) => leaseTable(id))
    const gone = [tables.namespace, tables.leases, tables.ingests, tables.sandboxes, ...leases]
    const unchanged: Check =
      mutations === undefined
        ? { is: 'absent', table: tables.gcCounters, field: 'mutations' }
        : { is: 'equals', table: tables.gcCounters, field: 'mutations', value: mutations }
    const outcome = await metadata.transact(name, {
      checks: [
        { is: 'present', table: tables.namespace, field: 'record' },
        unchanged,
        ...guarded.map(({ table }): Check => ({ is: 'empty', table })),
      ],
      writes: gone.map((table): Write => ({ op: 'drop', table })),
      events: [eventOf('/namespaces/delete', 'containerd.events.NamespaceDelete', NamespaceDelete, { name })],
      createsNamespace: false,
      // The files of the ingests that went are garbage now.
      deletions: 1,
    })
    if (outcome.ok) return
  }
  throw aborted(`namespace "${name}" is being written to`)
}
