import type { Info } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import type { DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { type Metadata, maskedKey, now, updateRecord, withMaskedKey } from '@flotilla/metadata'
import { type Call, invalidArgument, type ServiceOf } from '@flotilla/rpc'
import { changedDriverLabels, storable } from './labels.ts'
import { type Place, resourceOf } from './place.ts'
import { directoryOf, missing, read } from './records.ts'

/** A snapshot before and after a change of its labels. */
export interface Updated {
  readonly before: Snapshot
  readonly after: Snapshot
}

/** Changes the labels of a snapshot of any kind: those that the mask names, or all. */
export async function update(
  metadata: Metadata,
  place: Place,
  requested: Info,
  mask: readonly string[] | undefined,
): Promise<Updated> {
  const key = requested.name
  let before = Snapshot.fromPartial({})
  const after = await updateRecord(metadata, {
    namespace: place.namespace,
    table: place.snapshots,
    field: key,
    type: Snapshot,
    missing: () => missing(key),
    change: (stored) => {
      before = stored
      return {
        ...stored,
        labels: storable(updatedLabels(key, stored.labels, requested.labels, mask)),
        updatedAt: now(),
      }
    },
    // New labels may refer to other objects.
    plan: () => ({ touches: [resourceOf(place, key)] }),
  })
  return { before, after }
}

/**
 * Tells the driver which of the labels meant for it have changed. Whoever changes them meanwhile may be told of before
 * us, so what the driver was told last is compared with what the record says then.
 */
export async function tellDriver(
  metadata: Metadata,
  drivers: ServiceOf<DriversDefinition>,
  place: Place,
  { before, after }: Updated,
  call: Call,
): Promise<void> {
  let told = after
  for (let changed = changedDriverLabels(before.labels, told.labels); changed.length > 0; ) {
    await drivers.relabel({ ...directoryOf(place.snapshotter, told), changed }, call)
    const { snapshot } = await read(metadata, place, after.key)
    changed = changedDriverLabels(told.labels, snapshot.labels)
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
