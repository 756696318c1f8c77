import { Lease } from '@flotilla/api/containerd/services/leases/v1/leases'
import { createMetadata, encode, leaseTable, type Metadata, parseResourceMember, tables } from '@flotilla/metadata'
import { startRedis, type TempWorld, type TestRedis, tempWorld } from '@flotilla/testing'
import { type ContentService, type ContentServiceDeps, createContentService } from '../index.ts'

/** A Redis and directories for content stores, for the length of a test. */
export interface ContentWorld extends AsyncDisposable {
  readonly redis: TestRedis
  readonly metadata: Metadata
  readonly root: string
  readonly world: TempWorld
  /** Opens a store; on the world's root and node unless said otherwise. */
  open(changes?: Partial<ContentServiceDeps>): Promise<ContentService>
  createLease(namespace: string, id: string): Promise<void>
  /** What a lease holds, as `TYPE ID`, sorted. */
  leaseResources(namespace: string, id: string): Promise<string[]>
}

export async function contentWorld(): Promise<ContentWorld> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await tempWorld({ name: 'content' }))
  const redis = stack.use(await startRedis({ relaxed: true }))
  const metadata = stack.use(await createMetadata({ url: redis.url, origin: 'node-1' }))
  const owned = stack.move()
  return {
    redis,
    metadata,
    world,
    root: world.path,
    open: (changes) =>
      createContentService({ metadata, root: world.path, nodeName: 'node-1', policy: () => 'shared', ...changes }),
    async createLease(namespace, id) {
      const lease = Lease.fromPartial({ id })
      await metadata.transact(namespace, {
        writes: [{ op: 'set', table: tables.leases, field: id, value: encode(Lease, lease) }],
      })
    },
    async leaseResources(namespace, id) {
      const members = await metadata.members(namespace, leaseTable(id))
      return members
        .map(parseResourceMember)
        .map((resource) => `${resource.type} ${resource.id}`)
        .sort()
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
