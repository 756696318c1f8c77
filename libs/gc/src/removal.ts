import { SnapshotRemove } from '@flotilla/api/containerd/events/events'
import { ImageDelete } from '@flotilla/api/containerd/services/images/v1/images'
import {
  type Check,
  childrenTable,
  eventOf,
  leaseTable,
  type OutboxEvent,
  type Plan,
  tables,
  trashTable,
  type Write,
} from '@flotilla/metadata'
import type { GraphObject, SnapshotStore } from './objects.ts'

/** Set of digests whose record in this namespace went, and whose bytes no node has been asked about since. */
export const contentTrashTable = 'content-trash'

/** An object about to be removed, with its record as just read; content is not read again. */
export interface Condemned {
  readonly object: GraphObject
  readonly bytes: Buffer | undefined
}

/** A removal of several objects. */
export interface RemovalPlan {
  readonly plan: Plan
  /** By the index of a check: the snapshot whose number of children it is about; undefined for all other checks. */
  readonly counted: ReadonlyArray<GraphObject | undefined>
}

/** Removes the records of one table; `store` when it is one of snapshots, whose children come before parents. */
export function planRemoval(condemned: readonly Condemned[], store: SnapshotStore | undefined): RemovalPlan {
  const checks: Check[] = []
  const counted: Array<GraphObject | undefined> = []
  const writes: Write[] = []
  const events: OutboxEvent[] = []
  const childrenHere = new Map<string, number>()
  for (const each of condemned) {
    const { table, field, parent } = each.object
    checks.push(
      each.bytes === undefined ? { is: 'present', table, field } : { is: 'equals', table, field, value: each.bytes },
    )
    counted.push(undefined)
    writes.push({ op: 'delete', table, field })
    if (store !== undefined) {
      // Children that go in the same step are still counted when the checks are made.
      const children = childrenHere.get(field) ?? 0
      const counter = { table: childrenTable(store.node, store.snapshotter), field }
      checks.push(children === 0 ? { is: 'absent', ...counter } : { is: 'equals', ...counter, value: String(children) })
      counted.push(each.object)
      if (parent !== undefined) childrenHere.set(parent, (childrenHere.get(parent) ?? 0) + 1)
      writes.push(...snapshotWrites(each.object, store))
      events.push(snapshotRemoved(field, store))
    } else if (table === tables.content) {
      writes.push({ op: 'add', table: contentTrashTable, field })
    } else if (table === tables.leases) {
      writes.push({ op: 'drop', table: leaseTable(field) })
    } else if (table === tables.images) {
      const name = field
      events.push(eventOf('/images/delete', 'containerd.services.images.v1.ImageDelete', ImageDelete, { name }))
    }
  }
  return { plan: { checks, writes, events }, counted }
}

function snapshotWrites({ parent, driverId }: GraphObject, { node, snapshotter }: SnapshotStore): Write[] {
  const writes: Write[] = []
  if (parent !== undefined) {
    writes.push({ op: 'increment', table: childrenTable(node, snapshotter), field: parent, by: -1 })
  }
  if (driverId) writes.push({ op: 'add', table: trashTable(node, snapshotter), field: driverId })
  return writes
}

const snapshotRemoved = (key: string, { node, snapshotter }: SnapshotStore): OutboxEvent => ({
  ...eventOf('/snapshot/remove', 'containerd.events.SnapshotRemove', SnapshotRemove, { key, snapshotter }),
  node,
})
