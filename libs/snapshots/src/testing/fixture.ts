import { readdir } from 'node:fs/promises'
import type { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import type { DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { createDrivers } from '@flotilla/drivers'
import { createLogger } from '@flotilla/log'
import { createMetadata, type Metadata, snapshotTable } from '@flotilla/metadata'
import { makeCall, type ServiceOf } from '@flotilla/rpc'
import type { DriverKind } from '@flotilla/snapshot-driver'
import { startRedis, type TempWorld, tempWorld } from '@flotilla/testing'
import { highestRecordedId } from '../recorded-ids.ts'
import { createSnapshotsService } from '../service.ts'

export const node = 'node-1'

/** The service over one real driver. */
export interface TestSnapshots extends AsyncDisposable {
  readonly service: ServiceOf<SnapshotsDefinition>
  readonly snapshotter: string
  readonly capabilities: readonly string[]
  readonly drivers: ServiceOf<DriversDefinition>
  readonly metadata: Metadata
  /** The names of all that the driver has below its root, half-made directories included. */
  directories(): Promise<string[]>
  /** Removes the directories that no record names, as the collector does. */
  collect(): Promise<void>
}

export interface Where {
  readonly root: string
  readonly redis: string
}

/** Opens service and driver where others may have been before. */
export async function openSnapshots(kind: DriverKind, { root, redis }: Where): Promise<TestSnapshots> {
  const snapshotter = kind.name
  const logger = createLogger({ level: 'error', name: 'test' })
  const metadata = await createMetadata({ url: redis, origin: node })
  const drivers = await createDrivers({
    root,
    drivers: [kind],
    logger,
    protection: 0,
    highestRecordedId: (name) => highestRecordedId(metadata, node, name),
  })
  const service = createSnapshotsService({ metadata, drivers: () => drivers, localNode: node })
  const listed = (await drivers.list({}, makeCall())).drivers[0]
  if (listed === undefined || listed.unavailable !== '') throw new Error(listed?.unavailable ?? 'no driver')
  return {
    service,
    snapshotter,
    capabilities: listed.capabilities,
    drivers,
    metadata,
    directories: () => readdir(`${listed.root}/snapshots`),
    async collect() {
      const { ids } = await drivers.ids({ snapshotter }, makeCall())
      const named = new Set<string>()
      for (const namespace of await metadata.namespaceNames()) {
        for (const [, bytes] of await metadata.all(namespace, snapshotTable(node, snapshotter)))
          named.add(Snapshot.decode(bytes).id)
      }
      await drivers.remove({ snapshotter, ids: ids.filter((id) => !named.has(id)) }, makeCall())
    },
    async [Symbol.asyncDispose]() {
      await metadata[Symbol.asyncDispose]()
      await drivers[Symbol.asyncDispose]()
    },
  }
}

/** The same in a world of its own, which goes with it; `prepare` may put a file system where the root will be. */
export async function startSnapshots(
  kind: DriverKind,
  prepare: (root: string, world: TempWorld) => Promise<void> = async () => {},
): Promise<TestSnapshots> {
  const world = await tempWorld({ name: kind.name })
  try {
    await prepare(world.join('root'), world)
    const redis = world.own(await startRedis({ relaxed: true }))
    const opened = world.own(await openSnapshots(kind, { root: world.join('root'), redis: redis.url }))
    return { ...opened, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() }
  } catch (error) {
    await world[Symbol.asyncDispose]()
    throw error
  }
}
