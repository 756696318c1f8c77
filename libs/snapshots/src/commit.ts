import { SnapshotCommit } from '@flotilla/api/containerd/events/events'
import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import type { Driver, DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { encode, eventOf, type Metadata, now, type Plan } from '@flotilla/metadata'
import { aborted, type Call, failedPrecondition, type ServiceOf, unimplemented } from '@flotilla/rpc'
import { refuseExisting } from './lease.ts'
import { type Place, resourceOf } from './place.ts'
import { directoryOf, Kind, lineage, missing, missingParent, readMany, type Stored } from './records.ts'

export interface Commitment {
  readonly key: string
  readonly name: string
  /** As they are stored. */
  readonly labels: Record<string, string>
  /** For a snapshot that was prepared without one. */
  readonly parent: string
}

const attempts = 50

/** Turns an active key into a committed name. The directory stays what it is. */
export async function commit(
  metadata: Metadata,
  drivers: ServiceOf<DriversDefinition>,
  driver: Driver,
  place: Place,
  wanted: Commitment,
  call: Call,
): Promise<void> {
  const { key, name, labels } = wanted
  for (let attempt = 0; attempt < attempts; attempt++) {
    const [existing, active, asked] = await readMany(metadata, place, [name, key, wanted.parent])
    if (existing) await refuseExisting(metadata, place, name, 'snapshot', call)
    if (active === undefined) throw missing(key)
    if (active.snapshot.kind !== Kind.ACTIVE) throw failedPrecondition(`snapshot ${key} is not active`)
    const parent =
      wanted.parent !== '' && active.snapshot.parent === '' ? rebased(wanted.parent, asked, driver) : undefined
    const directory = directoryOf(place.snapshotter, active.snapshot)
    const onto = parent ? { parents: lineage(parent.snapshot), rebased: true } : {}
    const usage = await drivers.commit({ ...directory, name, ...onto }, call)
    const time = now()
    const committed = Snapshot.fromPartial({
      key: name,
      kind: Kind.COMMITTED,
      parent: parent ? wanted.parent : active.snapshot.parent,
      id: active.snapshot.id,
      parentIds: parent ? lineage(parent.snapshot) : active.snapshot.parentIds,
      labels,
      createdAt: time,
      updatedAt: time,
      ...usage,
    })
    const outcome = await metadata.transact(place.namespace, planOf(place, key, committed, active, parent, call))
    if (outcome.ok) return
  }
  throw aborted(`snapshot "${key}" or "${name}" is being changed by too many callers`)
}

/** The parent that a snapshot without one gets when it is committed. */
function rebased(name: string, parent: Stored | undefined, driver: Driver): Stored {
  // A driver that copied nothing at the beginning would lack the parent's files.
  if (!driver.capabilities.includes('rebase')) throw unimplemented(`snapshotter ${driver.name} cannot rebase`)
  if (parent === undefined) throw missingParent(name)
  if (parent.snapshot.kind !== Kind.COMMITTED) throw failedPrecondition(`parent "${name}" is not committed snapshot`)
  return parent
}

function planOf(
  place: Place,
  key: string,
  committed: Snapshot,
  active: Stored,
  parent: Stored | undefined,
  call: Call,
): Plan {
  const name = committed.key
  const table = place.snapshots
  const lease = call.lease && { id: call.lease, add: [resourceOf(place, name)], remove: [resourceOf(place, key)] }
  return {
    checks: [
      { is: 'absent', table, field: name },
      { is: 'equals', table, field: key, value: active.bytes },
      ...(parent ? [{ is: 'equals', table, field: committed.parent, value: parent.bytes } as const] : []),
    ],
    writes: [
      { op: 'delete', table, field: key },
      { op: 'set', table, field: name, value: encode(Snapshot, committed) },
      ...(parent ? [{ op: 'increment', table: place.children, field: committed.parent, by: 1 } as const] : []),
    ],
    ...(lease ? { lease } : {}),
    events: [
      eventOf('/snapshot/commit', 'containerd.events.SnapshotCommit', SnapshotCommit, {
        key,
        name,
        snapshotter: place.snapshotter,
      }),
    ],
    touches: [resourceOf(place, name)],
  }
}
