import { ContentDefinition, WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { ImageStore, OCIRegistry } from '@flotilla/api/containerd/types/transfer/transfer'
import { refOf } from '@flotilla/oci'
import { clientOf, connect, createRpcServer } from '@flotilla/rpc'
import { buildImage, pushImage, startRegistry, type TestRegistry, tempWorld, until } from '@flotilla/testing'
import { contentWriter } from '@flotilla/testing/content-suite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { pack } from './any.ts'
import { type TransferWorld, transferWorld } from './testing/world.ts'
import { imageStore, ociRegistry } from './types.ts'

const stack = new AsyncDisposableStack()
let registry: TestRegistry
beforeAll(async () => {
  registry = stack.use(await startRegistry())
})
afterAll(() => stack.disposeAsync())

/** A world whose transfer service has its content in another process, as far as it can tell. */
async function apart(): Promise<TransferWorld> {
  const world = stack.use(await tempWorld({ name: 'transfer' }))
  const server = createRpcServer()
  stack.defer(() => server.close(100))
  return await transferWorld(async ({ content }) => {
    server.add(ContentDefinition, content)
    const channel = connect(await server.listen(`unix://${world.join('content.sock')}`))
    stack.defer(() => channel.close())
    return { content: clientOf(ContentDefinition, channel) }
  })
}

test.each([
  ['in this process', () => transferWorld()],
  ['in another', apart],
])(
  'a pull waits for whoever writes one of its blobs, and takes what that one brought: content %s',
  async (_, start) => {
    await using world = await start()
    const call = world.fresh()
    const image = await buildImage({
      scratch: true,
      layers: [[{ name: 'a', content: 'a' }], [{ name: 'b', content: 'b' }]],
    })
    const reference = await pushImage(registry, 'some/image:1', image)
    const [held] = image.layers
    if (held === undefined) throw new Error('no layer')
    const writer = contentWriter(world.content, call)
    const ingest = { ref: refOf(held), total: held.size, expected: held.digest }
    await writer.send({ ...ingest, action: WriteAction.STAT })
    const pulled = world.transfer(
      {
        source: pack(ociRegistry, OCIRegistry.fromPartial({ reference, resolver: { defaultScheme: 'http' } })),
        destination: pack(imageStore, ImageStore.fromPartial({ name: reference })),
        options: undefined,
      },
      call,
    )
    pulled.catch(() => {})
    const others = image.blobs.filter((blob) => blob !== held).map(({ digest }) => digest)
    await until('all other blobs are there', async () => {
      const there = await world.digests(call)
      return others.every((digest) => there.includes(digest))
    })
    expect(await world.imageNames(call)).toEqual([])
    await writer.send({ ...ingest, action: WriteAction.COMMIT, data: held.bytes })
    await writer.end()
    await pulled
    expect(await world.imageNames(call)).toEqual([reference])
    expect([await world.ingests(call), await world.leaseIds(call)]).toEqual([[], []])
    await world.collect(call)
    expect(await world.digests(call)).toEqual(image.blobs.map(({ digest }) => digest).sort())
  },
)
