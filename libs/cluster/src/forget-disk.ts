import { SnapshotRemove } from '@flotilla/api/containerd/events/events'
import {
  childrenTable,
  eventOf,
  type Metadata,
  mountsTable,
  parseStoreName,
  removeBlobNode,
  snapshotTable,
  storeName,
  tables,
  trashTable,
} from '@flotilla/metadata'

/** Changes, or questions, that are under way at a time. */
const atOnce = 64

/**
 * Takes out of the records what was on the disk of a node that is gone: its snapshots, each with its event, its mounts,
 * and its name from the blobs that it had. Images, content and containers are the cluster's and stay. What was cut off is
 * to be begun again. The node must not be able to add to its records meanwhile.
 */
export async function forgetDisk(metadata: Metadata, node: string): Promise<void> {
  const digests = new Set<string>()
  for (const namespace of await metadata.namespaceNames()) {
    for (const store of (await metadata.members(namespace, tables.snapshotStores)).map(parseStoreName))
      if (store.node === node) await forgetSnapshots(metadata, namespace, node, store.snapshotter)
    await metadata.transact(namespace, { writes: [{ op: 'drop', table: mountsTable(node) }] })
    for (const [digest] of await metadata.all(namespace, tables.content)) digests.add(digest)
  }
  await inPieces([...digests], (digest) => removeBlobNode(metadata, digest, node))
}

async function forgetSnapshots(metadata: Metadata, namespace: string, node: string, snapshotter: string) {
  const table = snapshotTable(node, snapshotter)
  const rows = await metadata.all(namespace, table)
  await inPieces(rows, ([key]) =>
    metadata.transact(namespace, {
      // A client or a collection that removes it at the same moment tells of it itself.
      checks: [{ is: 'present', table, field: key }],
      writes: [{ op: 'delete', table, field: key }],
      events: [eventOf('/snapshot/remove', 'containerd.events.SnapshotRemove', SnapshotRemove, { key, snapshotter })],
    }),
  )
  await metadata.transact(namespace, {
    writes: [
      { op: 'drop', table: childrenTable(node, snapshotter) },
      { op: 'drop', table: trashTable(node, snapshotter) },
      { op: 'remove', table: tables.snapshotStores, field: storeName(node, snapshotter) },
    ],
  })
}

async function inPieces<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < items.length; at += atOnce) await Promise.all(items.slice(at, at + atOnce).map(work))
}
