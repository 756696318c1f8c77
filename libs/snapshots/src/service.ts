import { Info, type SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { Driver, DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { parseFilters } from '@flotilla/filters'
import type { Metadata } from '@flotilla/metadata'
import { type Call, failedPrecondition, invalidArgument, type ServiceOf, unimplemented } from '@flotilla/rpc'
import { commit } from './commit.ts'
import { infoOf, storedInfo } from './info.ts'
import { storable } from './labels.ts'
import { list } from './list.ts'
import {
  isScheduled,
  namedNode,
  nodeForNew,
  nodeOfKey,
  nodesWith,
  type Place,
  placeOf,
  type Schedule,
} from './place.ts'
import { prepare } from './prepare.ts'
import { directoryOf, Kind, read } from './records.ts'
import { remove } from './remove.ts'
import { createSnapshotters } from './snapshotters.ts'
import { tellDriver, update } from './update.ts'

export interface SnapshotsDeps {
  readonly metadata: Metadata
  /** The drivers of a node. */
  readonly drivers: (node: string) => ServiceOf<DriversDefinition>
  /** The node of calls that name none in metadata `flotilla-node`, unless there is a scheduler. */
  readonly localNode: string
  /** Chooses among the nodes for calls that name none. */
  readonly schedule?: Schedule | undefined
}

/** A request that has come as far as the records: its place, and the drivers there. */
interface Entered {
  readonly place: Place
  readonly driver: Driver
  readonly drivers: ServiceOf<DriversDefinition>
}

function requireKey(key: string): void {
  if (key === '') throw invalidArgument('snapshot key required')
}

/** Snapshots of all namespaces on all nodes. */
export function createSnapshotsService(deps: SnapshotsDeps): ServiceOf<SnapshotsDefinition> {
  const { metadata, localNode } = deps
  const snapshotters = createSnapshotters(deps.drivers)

  /** What a call is about: a snapshot that there is, one to be made, or all of them. */
  type About = { readonly key: string; readonly parent?: string } | undefined

  async function nodeOf(snapshotter: string, about: About, call: Call): Promise<string> {
    const named = namedNode(call)
    if (named !== undefined) return named
    if (about === undefined || !isScheduled(call)) return localNode
    const { key, parent } = about
    return parent === undefined
      ? await nodeOfKey(deps, call, snapshotter, key)
      : await nodeForNew(deps, call, snapshotter, { key, parent })
  }

  async function enter(snapshotter: string, about: About, call: Call): Promise<Entered> {
    const node = await nodeOf(snapshotter, about, call)
    const driver = await snapshotters.require(node, snapshotter, call)
    return { place: placeOf(call, node, snapshotter), driver, drivers: deps.drivers(node) }
  }

  type Preparation = { snapshotter: string; key: string; parent: string; labels: Record<string, string> }

  async function make(request: Preparation, kind: typeof Kind.ACTIVE | typeof Kind.VIEW, call: Call) {
    const { place, drivers } = await enter(request.snapshotter, request, call)
    const { key, parent } = request
    requireKey(key)
    const labels = storable(request.labels)
    return { mounts: await prepare(metadata, drivers, place, { key, parent, labels, kind }, call) }
  }

  /** The place that a list is about, or every one when the call names no node. */
  async function placesOf(snapshotter: string, call: Call): Promise<Place[]> {
    const nodes = await (namedNode(call) !== undefined || !isScheduled(call)
      ? []
      : nodesWith(metadata, call, snapshotter))
    if (nodes.length === 0) return [(await enter(snapshotter, undefined, call)).place]
    return nodes.map((node) => placeOf(call, node, snapshotter))
  }

  return {
    prepare: (request, call) => make(request, Kind.ACTIVE, call),
    view: (request, call) => make(request, Kind.VIEW, call),

    async mounts({ snapshotter, key }, call) {
      const { place, drivers } = await enter(snapshotter, { key }, call)
      const { snapshot } = await read(metadata, place, key)
      if (snapshot.kind === Kind.COMMITTED) throw failedPrecondition(`requested snapshot ${key} not active or view`)
      return await drivers.mounts(directoryOf(snapshotter, snapshot), call)
    },

    async commit({ snapshotter, name, key, labels, parent }, call) {
      const { place, driver, drivers } = await enter(snapshotter, { key }, call)
      requireKey(key)
      if (name === '') throw invalidArgument('snapshot name required')
      await commit(metadata, drivers, driver, place, { key, name, labels: storable(labels), parent }, call)
      return {}
    },

    async remove({ snapshotter, key }, call) {
      const { place } = await enter(snapshotter, { key }, call)
      await remove(metadata, place, key, call)
      return {}
    },

    async stat({ snapshotter, key }, call) {
      const { place } = await enter(snapshotter, { key }, call)
      const { snapshot } = await read(metadata, place, key)
      return { info: infoOf(snapshot, place.node) }
    },

    async update({ snapshotter, info, updateMask }, call) {
      const requested = info ?? Info.fromPartial({})
      const { place, driver, drivers } = await enter(snapshotter, { key: requested.name }, call)
      if (requested.name === '') throw invalidArgument('invalid argument')
      const updated = await update(metadata, place, requested, updateMask)
      if (driver.takesLabels) await tellDriver(metadata, drivers, place, updated, call)
      return { info: storedInfo(updated.after) }
    },

    async *list({ snapshotter, filters }, call) {
      const matcher = parseFilters(filters)
      for (const place of await placesOf(snapshotter, call))
        for await (const info of list(metadata, place, matcher)) yield { info }
    },

    async usage({ snapshotter, key }, call) {
      const { place, drivers } = await enter(snapshotter, { key }, call)
      const { snapshot } = await read(metadata, place, key)
      const { kind, size, inodes } = snapshot
      if (kind === Kind.VIEW) return { size: 0, inodes: 0 }
      return kind === Kind.COMMITTED ? { size, inodes } : await drivers.usage(directoryOf(snapshotter, snapshot), call)
    },

    async cleanup({ snapshotter }, call) {
      await enter(snapshotter, undefined, call)
      // What clients know; the collector does it without being asked.
      throw unimplemented('snapshotter does not implement Cleanup method')
    },
  }
}
