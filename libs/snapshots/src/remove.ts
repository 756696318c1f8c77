import { SnapshotRemove } from '@flotilla/api/containerd/events/events'
import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import { eventOf, type Metadata } from '@flotilla/metadata'
import { aborted, type Call, failedPrecondition } from '@flotilla/rpc'
import { type Place, resourceOf } from './place.ts'
import { missing } from './records.ts'

/** Which check of the change it is that children fail. */
const childCheck = 1
const attempts = 50

/** Removes a record. Its directory is put into the trash, which the next collection empties. */
export async function remove(metadata: Metadata, place: Place, key: string, call: Call): Promise<void> {
  const { namespace, snapshotter, snapshots: table } = place
  let bytes = await metadata.get(namespace, table, key)
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (bytes === undefined) throw missing(key)
    const { id, parent } = Snapshot.decode(bytes)
    const outcome = await metadata.transact(namespace, {
      checks: [
        { is: 'equals', table, field: key, value: bytes },
        { is: 'absent', table: place.children, field: key },
      ],
      writes: [
        { op: 'delete', table, field: key },
        { op: 'add', table: place.trash, field: id },
        ...(parent === '' ? [] : [{ op: 'increment', table: place.children, field: parent, by: -1 } as const]),
      ],
      ...(call.lease ? { lease: { id: call.lease, remove: [resourceOf(place, key)] } } : {}),
      events: [eventOf('/snapshot/remove', 'containerd.events.SnapshotRemove', SnapshotRemove, { key, snapshotter })],
      deletions: 1,
    })
    if (outcome.ok) return
    if (outcome.check === childCheck) throw failedPrecondition('cannot remove snapshot with child')
    bytes = outcome.current
  }
  throw aborted(`snapshot "${key}" is being changed by too many callers`)
}
