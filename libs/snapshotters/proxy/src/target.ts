import { type Info, Kind, type SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { type Call, notFound, type ServiceOf } from '@flotilla/rpc'

/** On Prepare: the committed name that the client wants to have in the end. */
export const targetLabel = 'containerd.io/snapshot.ref'

interface Target {
  readonly snapshotter: string
  /** As the client calls it. */
  readonly target: string
  /** As the other program calls it. */
  readonly parent: string
}

/** What a program has that answered a Prepare with ALREADY_EXISTS, by its own name for the target. */
export async function existingTarget(
  remote: ServiceOf<SnapshotsDefinition>,
  { snapshotter, target, parent }: Target,
  call: Call,
): Promise<Info> {
  const filters = [`labels."${targetLabel}"==${JSON.stringify(target)},parent==${JSON.stringify(parent)}`]
  for await (const { info } of remote.list({ snapshotter, filters }, call)) {
    for (const one of info) {
      // A program need not know filters.
      if (one.kind === Kind.COMMITTED && one.parent === parent && one.labels[targetLabel] === target) return one
    }
  }
  throw notFound(`target snapshot "${target}" in backend`)
}
