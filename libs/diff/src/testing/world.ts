import {
  ContentDefinition,
  WriteAction,
  WriteContentRequest,
} from '@flotilla/api/containerd/services/content/v1/content'
import { createContentService } from '@flotilla/content'
import { createLayerPool } from '@flotilla/layers'
import { createMetadata } from '@flotilla/metadata'
import { type Call, clientOf, connect, createRpcServer, hasCode, makeCall, type ServiceOf, status } from '@flotilla/rpc'
import { startRedis, type TempWorld, tempWorld } from '@flotilla/testing'
import { createDiffService } from '../diff-service.ts'
import { createLayersService } from '../layers-service.ts'
import type { StreamProcessor } from '../processors.ts'

// For tests: a diff service over a real content store.

export interface DiffWorld extends AsyncDisposable, Pick<TempWorld, 'join'> {
  readonly diff: ReturnType<typeof createDiffService>
  /** One layer at a time is unpacked as it arrives. */
  readonly layers: ReturnType<typeof createLayersService>
  readonly content: Awaited<ReturnType<typeof createContentService>>['content']
  readonly call: Call
  /** Adds bytes to the content of a namespace. */
  put(digest: string, bytes: Buffer, labels?: Record<string, string>, call?: Call): Promise<void>
  get(digest: string): Promise<Buffer>
}

/** @param proxied whether the bytes are another program's, which is a second store behind a socket */
export async function diffWorld(processors: StreamProcessor[] = [], proxied = false): Promise<DiffWorld> {
  const stack = new AsyncDisposableStack()
  const world = stack.use(await tempWorld({ tmpfs: true, name: 'diff' }))
  const redis = stack.use(await startRedis({ relaxed: true }))
  const metadata = stack.use(await createMetadata({ url: redis.url, origin: 'test' }))
  const plugin = proxied ? await startPlugin(stack, world) : undefined
  const store = stack.use(
    await createContentService({ metadata, root: world.join('root'), nodeName: 'n1', policy: () => 'shared', plugin }),
  )
  const { content, blobs } = store
  const pool = stack.use(createLayerPool({ workers: 2 }))
  const deps = { content, blobs, pool, tmpDir: world.join('tmp'), processors }
  const diff = createDiffService(deps)
  const arrivals = stack.use(createLayerPool({ workers: 1 }))
  const layers = createLayersService({ ...deps, arrivals, maxArrivals: 1 })
  const call = makeCall({ namespace: 'default' })
  return {
    join: world.join,
    diff,
    layers,
    content,
    call,
    async put(digest, bytes, labels = {}, as = call) {
      const message = { ref: digest, total: bytes.length, expected: digest, data: bytes, labels }
      const request = WriteContentRequest.fromPartial({ ...message, action: WriteAction.COMMIT })
      try {
        for await (const _ of content.write(only(request), as)) break
      } catch (error) {
        if (!hasCode(error, status.ALREADY_EXISTS)) throw error
      }
    },
    async get(digest) {
      const pieces: Buffer[] = []
      for await (const { data } of content.read({ digest, offset: 0, size: 0 }, call)) pieces.push(data)
      return Buffer.concat(pieces)
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

async function startPlugin(stack: AsyncDisposableStack, world: TempWorld): Promise<ServiceOf<ContentDefinition>> {
  const redis = stack.use(await startRedis({ relaxed: true }))
  const metadata = stack.use(await createMetadata({ url: redis.url, origin: 'plugin' }))
  const options = { metadata, root: world.join('plugin'), nodeName: 'plugin', policy: () => 'shared' as const }
  const { content } = stack.use(await createContentService(options))
  const server = stack.use(createRpcServer())
  server.add(ContentDefinition, content)
  const channel = connect(await server.listen(`unix://${world.join('plugin.sock')}`))
  stack.defer(() => channel.close())
  return clientOf(ContentDefinition, channel)
}

async function* only<T>(value: T): AsyncGenerator<T> {
  yield value
}
