import { SnapshotPrepare } from '@flotilla/api/containerd/events/events'
import type { Mount } from '@flotilla/api/containerd/types/types'
import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import type { DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { type Check, encode, eventOf, type Metadata, now, type Plan, tables } from '@flotilla/metadata'
import { aborted, alreadyExists, type Call, invalidArgument, type ServiceOf } from '@flotilla/rpc'
import { type Keep, withNewDirectory } from './directory.ts'
import { driverLabels, storable, targetLabel } from './labels.ts'
import { refuseExisting } from './lease.ts'
import { type Place, resourceOf } from './place.ts'
import { directoryOf, Kind, lineage, missingParent, readMany, type Stored } from './records.ts'

export interface NewSnapshot {
  readonly key: string
  readonly parent: string
  /** As they are stored. */
  readonly labels: Record<string, string>
  readonly kind: typeof Kind.ACTIVE | typeof Kind.VIEW
}

/** Races with other writers that a call may lose before it gives up. */
const attempts = 50

/** Makes an active snapshot or a view and answers its mounts. */
export async function prepare(
  metadata: Metadata,
  drivers: ServiceOf<DriversDefinition>,
  place: Place,
  wanted: NewSnapshot,
  call: Call,
): Promise<Mount[]> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const parent = await mayBeMade(metadata, place, wanted, call)
    const mounts = await make(metadata, drivers, place, wanted, parent, call)
    if (mounts !== undefined) return mounts
  }
  throw aborted(`snapshot "${wanted.key}" or its parent is being changed by too many callers`)
}

/** The parent, once nothing speaks against the snapshot; undefined when it is to have none. */
async function mayBeMade(
  metadata: Metadata,
  place: Place,
  { key, parent, labels }: NewSnapshot,
  call: Call,
): Promise<Stored | undefined> {
  const target = labels[targetLabel] ?? ''
  const [existingTarget, existing, parentRecord] = await readMany(metadata, place, [target, key, parent])
  if (existingTarget) await refuseExisting(metadata, place, target, 'target snapshot', call)
  if (existing) await refuseExisting(metadata, place, key, 'snapshot', call)
  if (parent === '') return undefined
  if (parentRecord === undefined) throw missingParent(parent)
  if (parentRecord.snapshot.kind !== Kind.COMMITTED)
    throw invalidArgument(`parent "${parent}" is not committed snapshot`)
  return parentRecord
}

/** Directory first, record second. Undefined when what was read is no longer so; then the directory is gone again. */
async function make(
  metadata: Metadata,
  drivers: ServiceOf<DriversDefinition>,
  place: Place,
  wanted: NewSnapshot,
  parent: Stored | undefined,
  call: Call,
): Promise<Mount[] | undefined> {
  const directory = {
    snapshotter: place.snapshotter,
    readonly: wanted.kind === Kind.VIEW,
    parents: lineage(parent?.snapshot),
    labels: driverLabels(wanted.labels),
    key: wanted.key,
  }
  try {
    return await withNewDirectory(drivers, directory, call, async ({ id, committed, labels }, keep) => {
      const time = now()
      if (committed) return await adopt(id, labels, keep)
      const snapshot = Snapshot.fromPartial({
        ...wanted,
        id,
        parentIds: directory.parents,
        createdAt: time,
        updatedAt: time,
      })
      const { mounts } = await drivers.mounts(directoryOf(place.snapshotter, snapshot), call)
      const recorded = await keep(() => metadata.transact(place.namespace, planOf(place, snapshot, parent, call)))
      return recorded ? mounts : undefined
    })
  } catch (error) {
    // A driver may have failed because the parent was removed under its hands.
    if (parent !== undefined) {
      const [still] = await readMany(metadata, place, [wanted.parent])
      if (still?.snapshot.id !== parent.snapshot.id) return undefined
    }
    throw error
  }

  /** Records what the driver had already by the name that the client wants in the end, and tells the client so. */
  async function adopt(id: string, given: Record<string, string>, keep: Keep): Promise<undefined> {
    const target = wanted.labels[targetLabel] ?? ''
    const time = now()
    const labels = storable({ ...given, ...wanted.labels })
    const common = { key: target, kind: Kind.COMMITTED, id, parentIds: directory.parents, labels }
    const bare = Snapshot.fromPartial({ ...wanted, ...common, createdAt: time, updatedAt: time })
    const usage = await drivers.usage(directoryOf(place.snapshotter, bare), call)
    const snapshot = { ...bare, ...usage }
    const recorded = await keep(() => metadata.transact(place.namespace, planOf(place, snapshot, parent, call)))
    if (recorded) throw alreadyExists(`target snapshot "${target}" from snapshotter`)
  }
}

function planOf(place: Place, snapshot: Snapshot, parent: Stored | undefined, call: Call): Plan {
  const { key } = snapshot
  const target = snapshot.labels[targetLabel]
  const table = place.snapshots
  const checks: Check[] = [{ is: 'absent', table, field: key }]
  if (target && target !== key) checks.push({ is: 'absent', table, field: target })
  if (parent) checks.push({ is: 'equals', table, field: snapshot.parent, value: parent.bytes })
  const event = eventOf('/snapshot/prepare', 'containerd.events.SnapshotPrepare', SnapshotPrepare, {
    key,
    parent: snapshot.parent,
    snapshotter: place.snapshotter,
  })
  return {
    checks,
    writes: [
      { op: 'add', table: tables.snapshotStores, field: place.store },
      { op: 'set', table, field: key, value: encode(Snapshot, snapshot) },
      ...(parent ? [{ op: 'increment', table: place.children, field: snapshot.parent, by: 1 } as const] : []),
    ],
    ...(call.lease ? { lease: { id: call.lease, add: [resourceOf(place, key)] } } : {}),
    events: snapshot.kind === Kind.ACTIVE ? [event] : [],
    touches: [resourceOf(place, key)],
  }
}
