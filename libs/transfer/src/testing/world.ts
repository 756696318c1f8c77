import type { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import type { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import type { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import type { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { createContentService } from '@flotilla/content'
import { createDiffService, createLayersService } from '@flotilla/diff'
import { createDrivers } from '@flotilla/drivers'
import { createCollector } from '@flotilla/gc'
import { createImagesService } from '@flotilla/images'
import { createLayerPool } from '@flotilla/layers'
import { createLeasesService } from '@flotilla/leases'
import { createLogger } from '@flotilla/log'
import { createMetadata } from '@flotilla/metadata'
import { createRegistryClient } from '@flotilla/registry'
import { type Call, makeCall, type ServiceOf } from '@flotilla/rpc'
import type { DriverKind } from '@flotilla/snapshot-driver'
import { createSnapshotsService } from '@flotilla/snapshots'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { startRedis, startRegistry, type TempWorld, type TestRegistry, tempWorld } from '@flotilla/testing'
import type { GivenDeps } from '../deps.ts'
import { createStreams, createTransferService, type Streams } from '../index.ts'

// For tests: the transfer service over the real services that it needs.

const node = 'n1'
/** The collector runs when it is asked to, and not otherwise. */
const onlyAsked = {
  startupDelay: 0,
  pauseThreshold: 0,
  deletionThreshold: 0,
  mutationThreshold: 0,
  scheduleDelay: 0,
}

export interface TransferWorld extends AsyncDisposable, Pick<TempWorld, 'join'> {
  readonly transfer: ReturnType<typeof createTransferService>['transfer']
  readonly streams: Streams
  readonly content: ServiceOf<ContentDefinition>
  readonly images: ServiceOf<ImagesDefinition>
  readonly leases: ServiceOf<LeasesDefinition>
  readonly snapshots: ServiceOf<SnapshotsDefinition>
  /** A call in a namespace that nobody has used yet. */
  fresh(): Call
  /** Runs the garbage collector, to its end. */
  collect(call: Call): Promise<void>
  /** Names of all images, sorted. */
  imageNames(call: Call): Promise<string[]>
  /** Digests of all content, sorted. */
  digests(call: Call): Promise<string[]>
  /** Refs of all ingests, sorted. */
  ingests(call: Call): Promise<string[]>
  leaseIds(call: Call): Promise<string[]>
  /** Names of all snapshots, sorted. */
  snapshotNames(call: Call): Promise<string[]>
}

/**
 * @param changes replace parts that the transfer service is given
 * @param more snapshot drivers besides overlayfs
 */
export async function transferWorld(
  changes: (deps: GivenDeps) => Partial<GivenDeps> | Promise<Partial<GivenDeps>> = () => ({}),
  more: readonly DriverKind[] = [],
): Promise<TransferWorld> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await tempWorld({ tmpfs: true, name: 'transfer' }))
  const redis = stack.use(await startRedis({ relaxed: true }))
  const metadata = stack.use(await createMetadata({ url: redis.url, origin: node }))
  const logger = createLogger({ level: 'error', name: 'test' })
  const root = world.join('root')
  const store = stack.use(await createContentService({ metadata, root, nodeName: node, policy: () => 'shared' }))
  const { content, blobs } = store
  const drivers = stack.use(await createDrivers({ root, drivers: [overlayfs(), ...more], logger, protection: 0 }))
  const snapshots = createSnapshotsService({ metadata, drivers: () => drivers, localNode: node })
  const pool = stack.use(createLayerPool({ workers: 1 }))
  const arrivals = stack.use(createLayerPool({ workers: 1 }))
  const differ = { content, blobs, pool, tmpDir: world.join('tmp') }
  const diff = createDiffService(differ)
  const layers = createLayersService({ ...differ, arrivals, maxArrivals: 1 })
  const collector = stack.use(
    createCollector({
      metadata,
      nodes: async () => [node],
      content: () => blobs,
      drivers: () => drivers,
      settings: onlyAsked,
      logger,
    }),
  )
  const images = createImagesService({ metadata, collector })
  const leases = createLeasesService({ metadata, collector })
  const registry = stack.use(createRegistryClient({ logger, maxDownloads: 4 }))
  const streams = createStreams()
  const deps = { content, diff, layers, drivers, images, leases, snapshots, registry, streams, logger }
  const { transfer } = createTransferService({ ...deps, ...(await changes(deps)) })
  const owned = stack.move()
  let namespaces = 0
  const snapshotter = 'overlayfs'
  return {
    join: world.join,
    transfer,
    streams,
    content,
    images,
    leases,
    snapshots,
    fresh: () => makeCall({ namespace: `ns-${++namespaces}` }),
    async collect(call) {
      await collector.collect({}, call)
    },
    async imageNames(call) {
      const listed = await images.list({ filters: [] }, call)
      return listed.images.map(({ name }) => name).sort()
    },
    async digests(call) {
      const found = await Array.fromAsync(content.list({ filters: [] }, call))
      return found.flatMap(({ info }) => info.map(({ digest }) => digest)).sort()
    },
    async ingests(call) {
      const { statuses } = await content.listStatuses({ filters: [] }, call)
      return statuses.map(({ ref }) => ref).sort()
    },
    async leaseIds(call) {
      const listed = await leases.list({ filters: [] }, call)
      return listed.leases.map(({ id }) => id)
    },
    async snapshotNames(call) {
      const found = await Array.fromAsync(snapshots.list({ snapshotter, filters: [] }, call))
      return found.flatMap(({ info }) => info.map(({ name }) => name)).sort()
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** A world, and a registry beside it; `end` disposes of both. */
export async function worldAndRegistry(): Promise<{
  readonly world: TransferWorld
  readonly registry: TestRegistry
  end(): Promise<void>
}> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await transferWorld())
  const registry = stack.use(await startRegistry())
  const owned = stack.move()
  return { world, registry, end: () => owned.disposeAsync() }
}
