import { isDeepStrictEqual } from 'node:util'
import type { Info } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import type { DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { type Metadata, maskedKey, now, updateRecord, withMaskedKey } from '@flotilla/metadata'
import { type Call, invalidArgument, type ServiceOf } from '@flotilla/rpc'
import { storable } from './labels.ts'
import { type Place, resourceOf } from './place.ts'
import { directoryOf, missing, read } from './records.ts'

/** Changes the labels of a snapshot of any kind: those that the mask names, or all. */
export async function update(
  metadata: Metadata,
  place: Place,
  requested: Info,
  mask: readonly string[] | undefined,
): Promise<Snapshot> {
  const key = requested.name
  return await updateRecord(metadata, {
    namespace: place.namespace,
    table: place.snapshots,
    field: key,
    type: Snapshot,
    missing: () => missing(key),
    change: (stored) => ({
      ...stored,
      labels: storable(updatedLabels(key, stored.labels, requested.labels, mask)),
      updatedAt: now(),
    }),
    // New labels may refer to other objects.
    plan: () => ({ touches: [resourceOf(place, key)] }),
  })
}

/**
 * Tells the driver what the labels are now. Whoever changes them meanwhile may be told of before us, so what the driver
 * was told last is compared with what the record says then.
 */
export async function tellDriver(
  metadata: Metadata,
  drivers: ServiceOf<DriversDefinition>,
  place: Place,
  updated: Snapshot,
  call: Call,
): Promise<void> {
  for (let told = updated; ; ) {
    await drivers.relabel(directoryOf(place.snapshotter, told), call)
    const { snapshot } = await read(metadata, place, updated.key)
    if (isDeepStrictEqual(snapshot.labels, told.labels)) return
    told = snapshot
  }
}

type Labels = Readonly<Record<string, string>>

function updatedLabels(key: string, stored: Labels, requested: Labels, mask: readonly string[] | undefined): Labels {
  if (mask === undefined || mask.length === 0) return requested
  let labels = stored
  for (const path of mask) {
    const label = maskedKey(path, 'labels')
    if (label) labels = withMaskedKey(labels, requested, label)
    else if (path === 'labels') labels = requested
    else throw invalidArgument(`cannot update "${path}" field on snapshot "${key}"`)
  }
  return labels
}
