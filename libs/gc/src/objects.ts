import { Sandbox } from '@flotilla/api/containerd/types/types'
import {
  ContainerReferences,
  ContentReferences,
  ImageReferences,
  LeaseReferences,
  SnapshotReferences,
} from '@flotilla/api/flotilla/gc/v1/references'
import { Ingest } from '@flotilla/api/flotilla/metadata/v1/records'
import { parseStoreName, type Resource, snapshotTable, tables, toMillis } from '@flotilla/metadata'
import { type Condition, expiryOf, isFlat, referencesOf } from './labels.ts'

/** One node's table of snapshots of one driver. */
export interface SnapshotStore {
  readonly node: string
  readonly snapshotter: string
  /** Name of the table of its records. */
  readonly table: string
}

/** @param text `NODE/SNAPSHOTTER`, a member of the set `snapshot-stores` */
export function parseStore(text: string): SnapshotStore {
  const { node, snapshotter } = parseStoreName(text)
  return { node, snapshotter, table: snapshotTable(node, snapshotter) }
}

/** How far an object is reached: not at all, itself only (by a flat lease), or with all that it refers to. */
export const unreached = 0
export const reachedFlat = 1
export const reachedFully = 2
export type Reach = typeof unreached | typeof reachedFlat | typeof reachedFully

/** One record as the collector sees it. */
export interface GraphObject {
  readonly table: string
  readonly field: string
  /** The type under which others refer to it, with its field as id; a snapshot's is the same on every node. */
  readonly type: string
  /** Kept for its own sake, until it {@link expires}. */
  readonly root: boolean
  /** Milliseconds since the epoch at which it ceases to be a root; undefined when time does not change that. */
  readonly expires: number | undefined
  /** What it refers to; of a lease, what it holds. */
  readonly refs: Resource[]
  /** What it wants to be kept with. */
  readonly backRefs: readonly Resource[]
  readonly conditions: readonly Condition[]
  readonly usedAt: number | undefined
  /** Digest of the content that an image is about, followed also when this is reached flat. */
  readonly target: string | undefined
  /** The parent of a snapshot, in the same table; followed also when this is reached flat. */
  readonly parent: string | undefined
  /** A lease that reaches what it holds only flat. */
  readonly flat: boolean
  /** The driver's id of a snapshot. */
  readonly driverId: string | undefined
  reach: Reach
}

const none: readonly never[] = []

function made(table: string, field: string, parts: Partial<GraphObject>, type: string = table): GraphObject {
  return {
    table,
    field,
    type,
    root: parts.root ?? false,
    expires: parts.expires,
    refs: parts.refs ?? [],
    backRefs: parts.backRefs ?? none,
    conditions: parts.conditions ?? none,
    usedAt: parts.usedAt,
    target: parts.target,
    parent: parts.parent,
    flat: parts.flat ?? false,
    driverId: parts.driverId,
    reach: unreached,
  }
}

type Reader = (field: string, bytes: Uint8Array) => GraphObject

const readers: Readonly<Record<string, Reader>> = {
  [tables.leases](field, bytes) {
    const { labels } = LeaseReferences.decode(bytes)
    return made(tables.leases, field, { root: true, expires: expiryOf(labels), flat: isFlat(labels) })
  },
  [tables.images](field, bytes) {
    const { labels, target } = ImageReferences.decode(bytes)
    const { refs, backRefs, conditions } = referencesOf(labels)
    return made(tables.images, field, {
      root: true,
      expires: expiryOf(labels),
      refs,
      backRefs,
      conditions,
      target: target?.digest,
    })
  },
  [tables.content](field, bytes) {
    const { refs, backRefs, conditions, root } = referencesOf(ContentReferences.decode(bytes).labels)
    return made(tables.content, field, { root, refs, backRefs, conditions })
  },
  [tables.ingests](field, bytes) {
    const { expireAt, adopts } = Ingest.decode(bytes)
    // Without a time of its own it was opened under a lease, and lives as long as one holds it.
    const own = expireAt ? { root: true, expires: toMillis(expireAt) } : {}
    return made(tables.ingests, field, { ...own, refs: adopts === '' ? [] : [{ type: tables.content, id: adopts }] })
  },
  [tables.containers](field, bytes) {
    const { labels, snapshotter, snapshotKey } = ContainerReferences.decode(bytes)
    const { refs } = referencesOf(labels)
    if (snapshotter !== '') refs.push({ type: `snapshots/${snapshotter}`, id: snapshotKey })
    return made(tables.containers, field, { root: true, refs })
  },
  [tables.sandboxes](field, bytes) {
    return made(tables.sandboxes, field, { root: true, refs: referencesOf(Sandbox.decode(bytes).labels).refs })
  },
}

function readSnapshot({ table, snapshotter }: SnapshotStore, field: string, bytes: Uint8Array): GraphObject {
  const { labels, parent, id } = SnapshotReferences.decode(bytes)
  const { refs, backRefs, root, usedAt } = referencesOf(labels)
  const parts: Partial<GraphObject> = {
    root,
    refs,
    backRefs,
    usedAt,
    driverId: id,
    parent: parent === '' ? undefined : parent,
  }
  return made(table, field, parts, `snapshots/${snapshotter}`)
}

/** The tables, besides those of snapshots, in which collectable objects and what keeps them are. */
export const plainTables = Object.keys(readers)

/**
 * Reads a record.
 *
 * @param place the table's name, or the store when it is one of snapshots
 * @throws Error when the bytes are no such record: what it refers to is then unknown, so nothing may be removed
 */
export function readObject(place: string | SnapshotStore, field: string, bytes: Uint8Array): GraphObject {
  const table = typeof place === 'string' ? place : place.table
  try {
    if (typeof place !== 'string') return readSnapshot(place, field, bytes)
    const read = readers[place]
    if (read === undefined) throw new Error('no such table')
    return read(field, bytes)
  } catch (error) {
    throw new Error(`record "${field}" in ${table} cannot be read`, { cause: error })
  }
}
