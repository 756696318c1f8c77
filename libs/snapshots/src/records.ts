import { Snapshot_Kind as Kind, Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import type { DirectoryRequest } from '@flotilla/api/flotilla/node/v1/node'
import type { Metadata } from '@flotilla/metadata'
import { notFound } from '@flotilla/rpc'
import { driverLabels } from './labels.ts'
import type { Place } from './place.ts'

export { Snapshot_Kind as Kind } from '@flotilla/api/flotilla/metadata/v1/records'

/** A record, and the bytes that a change compares it by. */
export interface Stored {
  readonly bytes: Buffer
  readonly snapshot: Snapshot
}

/** The records of some names, read at one moment. */
export async function readMany(
  metadata: Metadata,
  place: Place,
  names: readonly string[],
): Promise<Array<Stored | undefined>> {
  const rows = await metadata.getMany(place.namespace, place.snapshots, names)
  return rows.map((bytes) => bytes && { bytes, snapshot: Snapshot.decode(bytes) })
}

/** One record; NOT_FOUND when there is none. */
export async function read(metadata: Metadata, place: Place, key: string): Promise<Stored> {
  const [stored] = await readMany(metadata, place, [key])
  if (stored === undefined) throw missing(key)
  return stored
}

export const missing = (key: string) => notFound(`snapshot ${key} does not exist`)
export const missingParent = (name: string) => notFound(`parent snapshot ${name} does not exist`)

/** What a driver is told about a snapshot. */
export function directoryOf(snapshotter: string, snapshot: Snapshot): DirectoryRequest {
  return {
    snapshotter,
    id: snapshot.id,
    readonly: snapshot.kind === Kind.VIEW,
    parents: snapshot.parentIds,
    labels: driverLabels(snapshot.labels),
    name: '',
    rebased: false,
    changed: [],
  }
}

/** The ids of all ancestors of a snapshot made upon this one. */
export const lineage = (parent: Snapshot | undefined): string[] =>
  parent === undefined ? [] : [parent.id, ...parent.parentIds]
