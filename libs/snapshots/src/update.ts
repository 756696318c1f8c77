import type { Info } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import { type Metadata, maskedKey, now, updateRecord, withMaskedKey } from '@flotilla/metadata'
import { invalidArgument } from '@flotilla/rpc'
import { storable } from './labels.ts'
import { type Place, resourceOf } from './place.ts'
import { missing } from './records.ts'

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
