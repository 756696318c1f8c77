import { ContentDefinition, WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { tables } from '@flotilla/metadata'
import { clientOf, connect, createRpcServer, makeCall, type RpcServer, status } from '@flotilla/rpc'
import { contentWriter } from '@flotilla/testing/content-suite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ContentService } from './index.ts'
import { begin, blobFiles, digestOf, ingestDirectories, put, read } from './testing/blobs.ts'
import { type ContentWorld, contentWorld } from './testing/world.ts'

// The other program is a store of ours with records of its own, behind a socket.
let world: ContentWorld
let behind: ContentWorld
let plugin: ContentService
let server: RpcServer
let service: ContentService
const a = makeCall({ namespace: 'a' })
const b = makeCall({ namespace: 'b' })
const stack = new AsyncDisposableStack()

async function serve() {
  server = createRpcServer()
  server.add(ContentDefinition, plugin.content)
  await server.listen(`unix://${behind.world.join('plugin.sock')}`)
}

beforeAll(async () => {
  behind = stack.use(await contentWorld())
  world = stack.use(await contentWorld())
  plugin = stack.use(await behind.open())
  await serve()
  stack.defer(() => server.close(0))
  const channel = connect(`unix://${behind.world.join('plugin.sock')}`)
  stack.defer(() => channel.close())
  service = stack.use(await world.open({ plugin: clientOf(ContentDefinition, channel) }))
})
afterAll(() => stack.disposeAsync())

test('bytes lie with the other program only, until no namespace names them', async () => {
  const digest = await put(service.content, a, 'shared')
  await put(service.content, b, 'shared')
  expect(await blobFiles(world.root)).toEqual([])
  expect(await blobFiles(behind.root)).toEqual([digest])
  const { info } = await plugin.content.info({ digest }, makeCall({ namespace: 'flotilla' }))
  expect(Object.keys(info?.labels ?? {})).toEqual(['containerd.io/gc.root'])
  expect(await service.blobs.locate({ digest }, a)).toEqual({ path: '', size: 6 })

  await service.content.delete({ digest }, a)
  expect(await service.blobs.sweep({ digests: [digest] }, makeCall())).toEqual({ blobs: 0, ingests: 0, bytes: 0 })
  await service.content.delete({ digest }, b)
  expect(await service.blobs.sweep({ digests: [] }, makeCall())).toEqual({ blobs: 1, ingests: 0, bytes: 6 })
  await plugin.blobs.sweep({ digests: [] }, makeCall())
  expect(await blobFiles(behind.root)).toEqual([])
})

test('an ingest whose record has gone is aborted over there by a sweep', async () => {
  await begin(service.content, a, 'collected', 'some bytes')
  await begin(service.content, a, 'kept', 'others')
  await world.metadata.transact('a', { writes: [{ op: 'delete', table: tables.ingests, field: 'collected' }] })
  expect(await service.blobs.sweep({ digests: [], ingestsOnly: true }, makeCall())).toMatchObject({
    ingests: 1,
    bytes: 10,
  })
  const { statuses } = await plugin.content.listStatuses({ filters: [] }, makeCall({ namespace: 'flotilla' }))
  expect(statuses.map(({ ref }) => ref)).toEqual(['a/1/kept'])
  await service.content.abort({ ref: 'kept' }, a)
  expect(await ingestDirectories(behind.root)).toEqual([])
})

test('while the other program is away calls are UNAVAILABLE; after it, an ingest goes on where it was', async () => {
  const digest = await put(service.content, a, 'there before')
  const writer = contentWriter(service.content, a)
  await writer.send({ ref: 'cut', action: WriteAction.WRITE, data: Buffer.from('first, ') })
  await server.close(0)
  await expect(writer.send({ action: WriteAction.WRITE, offset: 7, data: Buffer.from('lost') })).rejects.toMatchObject({
    code: status.UNAVAILABLE,
  })
  await expect(read(service.content, a, digest)).rejects.toMatchObject({ code: status.UNAVAILABLE })
  await expect(put(service.content, a, 'new')).rejects.toMatchObject({ code: status.UNAVAILABLE })
  // Records are ours.
  expect((await service.content.info({ digest }, a)).info?.size).toBe(12)

  await serve()
  await expect.poll(() => read(service.content, a, digest).catch(() => undefined)).toEqual(Buffer.from('there before'))
  const resumed = contentWriter(service.content, a)
  expect(await resumed.send({ ref: 'cut' })).toMatchObject({ offset: 7 })
  const whole = 'first, then the rest'
  const expected = digestOf(whole)
  await resumed.send({ action: WriteAction.COMMIT, offset: 7, data: Buffer.from('then the rest'), expected })
  await resumed.end()
  expect((await read(service.content, a, expected)).toString()).toBe(whole)
})

test('a record whose bytes are gone over there is NOT_FOUND, and a client may bring them again', async () => {
  const digest = await put(service.content, a, 'lost and found')
  await plugin.content.delete({ digest }, makeCall({ namespace: 'flotilla' }))
  await expect(read(service.content, a, digest)).rejects.toMatchObject({
    code: status.NOT_FOUND,
    message: expect.stringContaining(`content ${digest} has no bytes at the content plugin`),
  })
  const again = contentWriter(service.content, a)
  const data = Buffer.from('lost and found')
  await expect(again.send({ ref: 'again', action: WriteAction.COMMIT, data, expected: digest })).rejects.toMatchObject({
    code: status.ALREADY_EXISTS,
  })
  expect((await read(service.content, a, digest)).equals(data)).toBe(true)
})
