import {
  ImageExportStream,
  ImageImportStream,
  ImageStore,
  OCIRegistry,
} from '@flotilla/api/containerd/types/transfer/transfer'
import { type Call, makeCall, status, withCall } from '@flotilla/rpc'
import { buildImage, ociArchive, pushImage, startRegistry, type TestRegistry } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pack } from './any.ts'
import { openClientStream, receiving, sending } from './testing/client-stream.ts'
import { type TransferWorld, transferWorld } from './testing/world.ts'
import { data, imageExportStream, imageImportStream, imageStore, ociRegistry, windowUpdate } from './types.ts'

// Collections happen when nobody wants them: the transfers here are held up at their most delicate moments.

/** Where a transfer is held up, once. */
class Gate {
  #reached = Promise.withResolvers<void>()
  #opened = Promise.withResolvers<void>()
  #closed = false

  close(): void {
    this.#closed = true
    this.#reached = Promise.withResolvers()
    this.#opened = Promise.withResolvers()
  }

  open(): void {
    this.#opened.resolve()
  }

  get reached(): Promise<void> {
    return this.#reached.promise
  }

  async pass(call: Call): Promise<void> {
    if (!this.#closed) return
    this.#closed = false
    this.#reached.resolve()
    const cut = Promise.withResolvers<never>()
    call.signal.addEventListener('abort', () => cut.reject(call.signal.reason), { once: true })
    await Promise.race([this.#opened.promise, cut.promise])
  }
}

const image = await buildImage({
  index: true,
  compression: 'none',
  scratch: true,
  layers: [[{ name: 'a', content: Buffer.alloc(300_000, 'a') }], [{ name: 'b', content: Buffer.alloc(300_000, 'b') }]],
})
const digests = image.blobs.map(({ digest }) => digest).sort()
const name = 'r.example/a:1'
const options = undefined

const naming = new Gate()
const reading = new Gate()
let world: TransferWorld
let registry: TestRegistry
beforeAll(async () => {
  world = await transferWorld(({ content, images }) => ({
    images: {
      ...images,
      async create(request, call) {
        await naming.pass(call)
        return await images.create(request, call)
      },
    },
    content: {
      ...content,
      async *read(request, call) {
        await reading.pass(call)
        yield* content.read(request, call)
      },
    },
  }))
  registry = await startRegistry()
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await registry?.[Symbol.asyncDispose]()
})

const store = (fields: Parameters<typeof ImageStore.fromPartial>[0] = { name }) =>
  pack(imageStore, ImageStore.fromPartial(fields))
const unpacked = { name, unpacks: [{ snapshotter: 'overlayfs' }] }
const inRegistry = (reference: string) =>
  pack(ociRegistry, OCIRegistry.fromPartial({ reference, resolver: { defaultScheme: 'http' } }))

async function importing(call: Call, fields?: Parameters<typeof ImageStore.fromPartial>[0]) {
  const { id } = await sending(world.streams, call, await ociArchive(image, name))
  const source = pack(imageImportStream, ImageImportStream.fromPartial({ stream: id }))
  await world.transfer({ source, destination: store(fields), options }, call)
}

async function pulling(call: Call) {
  const reference = await pushImage(registry, 'some/image:1', image)
  await world.transfer({ source: inRegistry(reference), destination: store(unpacked), options }, call)
}

const pushing = async (call: Call) => {
  const destination = inRegistry(`${registry.host}/pushed/${call.namespace}:1`)
  await world.transfer({ source: store(), destination, options }, call)
}

const incoming = [
  ['import', (call: Call) => importing(call, unpacked)],
  ['pull', pulling],
] as const

describe.each(incoming)('what comes by %s', (_, transfer) => {
  test('is kept until it has a name, and then by the name alone', async () => {
    const call = world.fresh()
    naming.close()
    const transferred = transfer(call)
    await naming.reached
    await world.collect(call)
    expect(await world.leaseIds(call)).toHaveLength(1)
    for (const digest of digests) expect(await world.digests(call)).toContain(digest)
    expect(await world.snapshotNames(call)).toHaveLength(2)
    naming.open()
    await transferred
    expect(await world.leaseIds(call)).toEqual([])
    await world.collect(call)
    for (const digest of digests) expect(await world.digests(call)).toContain(digest)
    expect(await world.snapshotNames(call)).toHaveLength(2)
    await world.images.delete({ name, sync: true }, call)
    expect([await world.digests(call), await world.snapshotNames(call)]).toEqual([[], []])
  })

  test('goes when the client leaves', async () => {
    const call = world.fresh()
    const client = new AbortController()
    naming.close()
    const transferred = transfer(withCall(call, { signal: client.signal }))
    await naming.reached
    client.abort(new Error('the client is gone'))
    await expect(transferred).rejects.toThrow('the client is gone')
    expect(await world.leaseIds(call)).toEqual([])
    await world.collect(call)
    expect([await world.digests(call), await world.snapshotNames(call), await world.ingests(call)]).toEqual([
      [],
      [],
      [],
    ])
  })

  test("is held by the caller's lease, when it has one, and stays with it", async () => {
    const call = world.fresh()
    await world.leases.create({ id: 'own', labels: {} }, call)
    await transfer(withCall(call, { lease: 'own' }))
    await world.images.delete({ name, sync: true }, call)
    for (const digest of digests) expect(await world.digests(call)).toContain(digest)
    expect(await world.leaseIds(call)).toEqual(['own'])
    await world.leases.delete({ id: 'own', sync: true }, call)
    expect([await world.digests(call), await world.snapshotNames(call)]).toEqual([[], []])
  })
})

describe('what goes out', () => {
  /** Deletes the image and collects; everything must still be there, for the transfer alone. */
  async function deleteMeanwhile(call: Call) {
    await world.images.delete({ name, sync: true }, call)
    for (const digest of digests) expect(await world.digests(call)).toContain(digest)
    expect(await world.leaseIds(call)).toHaveLength(1)
  }

  const nothingLeft = async (call: Call) => {
    expect(await world.leaseIds(call)).toEqual([])
    await world.collect(call)
    expect(await world.digests(call)).toEqual([])
  }

  test('a push ends whole though its image is deleted meanwhile', async () => {
    const call = world.fresh()
    await importing(call)
    reading.close()
    const pushed = pushing(call)
    await reading.reached
    await deleteMeanwhile(call)
    reading.open()
    await pushed
    const headers = { accept: image.target.mediaType }
    const there = await registry.request(`/v2/pushed/${call.namespace}/manifests/1`, { headers })
    expect(there.status).toBe(200)
    await nothingLeft(call)
  })

  test('an export ends whole though its image is deleted meanwhile', async () => {
    const call = world.fresh()
    await importing(call)
    reading.close()
    const to = await receiving(world.streams, call)
    const destination = pack(imageExportStream, ImageExportStream.fromPartial({ stream: to.id }))
    const exported = world.transfer({ source: store(), destination, options }, call)
    await reading.reached
    await deleteMeanwhile(call)
    reading.open()
    await exported
    const archive = await to.bytes
    for (const { bytes } of image.layers) expect(archive.includes(bytes)).toBe(true)
    await nothingLeft(call)
  })

  test('an export whose client is killed in the middle lets go', async () => {
    const call = world.fresh()
    await importing(call)
    const to = await openClientStream(world.streams, call)
    const destination = pack(imageExportStream, ImageExportStream.fromPartial({ stream: to.id }))
    const exported = world.transfer({ source: store(), destination, options }, call)
    to.send(pack(windowUpdate, { update: 100_000 }))
    expect((await to.receive())?.typeUrl).toBe(data.name)
    await deleteMeanwhile(call)
    to.leave()
    await expect(exported).rejects.toMatchObject({ code: status.CANCELLED })
    await nothingLeft(call)
  })

  test('a push that is refused lets go', async () => {
    const call = world.fresh()
    await importing(call)
    await using closed = await startRegistry({ auth: 'basic' })
    const destination = inRegistry(`${closed.host}/pushed/it:1`)
    await expect(world.transfer({ source: store(), destination, options }, call)).rejects.toThrow(
      /authorization failed/,
    )
    expect(await world.leaseIds(call)).toEqual([])
  })

  test("does not become the caller's lease's", async () => {
    const call = world.fresh()
    await importing(call)
    await world.leases.create({ id: 'own', labels: {} }, call)
    await pushing(withCall(call, { lease: 'own' }))
    expect(await world.leaseIds(call)).toEqual(['own'])
    expect((await world.leases.listResources({ id: 'own' }, call)).resources).toEqual([])
  })
})

test('a client that leaves while its lease is being made leaves none', async () => {
  const client = new AbortController()
  await using other = await transferWorld(({ leases }) => ({
    leases: {
      ...leases,
      async create(request, call) {
        const made = await leases.create(request, call)
        client.abort(new Error('the client is gone'))
        return made
      },
    },
  }))
  const call = makeCall({ namespace: 'n', signal: client.signal })
  const request = { source: inRegistry(`${registry.host}/some/image:1`), destination: store(), options }
  await expect(other.transfer(request, call)).rejects.toThrow('the client is gone')
  expect(await other.leaseIds(makeCall({ namespace: 'n' }))).toEqual([])
})
