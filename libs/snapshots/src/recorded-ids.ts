import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import { type Metadata, snapshotTable, trashTable } from '@flotilla/metadata'

/** The highest id of a driver's directories that records or trash of a node name, in any namespace; 0 for none. */
export async function highestRecordedId(metadata: Metadata, node: string, snapshotter: string): Promise<number> {
  const ids = [0]
  for (const namespace of await metadata.namespaceNames()) {
    const rows = await metadata.all(namespace, snapshotTable(node, snapshotter))
    const trash = await metadata.members(namespace, trashTable(node, snapshotter))
    for (const [, bytes] of rows) ids.push(Number(Snapshot.decode(bytes).id))
    for (const id of trash) ids.push(Number(id))
  }
  return ids.reduce((highest, id) => Math.max(highest, id))
}
