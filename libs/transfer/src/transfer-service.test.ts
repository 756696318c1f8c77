import { ImageExportStream, ImageImportStream, ImageStore } from '@flotilla/api/containerd/types/transfer/transfer'
import { makeCall, status } from '@flotilla/rpc'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pack } from './any.ts'
import { openClientStream, receiving, sending } from './testing/client-stream.ts'
import { type TransferWorld, transferWorld } from './testing/world.ts'
import { imageExportStream, imageImportStream, imageStore, windowUpdate } from './types.ts'

let world: TransferWorld
beforeAll(async () => {
  world = await transferWorld()
})
afterAll(() => world?.[Symbol.asyncDispose]())

const source = (stream: string, mediaType = 'application/octet-stream') =>
  pack(imageImportStream, ImageImportStream.fromPartial({ stream, mediaType }))
const destination = (stream: string, mediaType = 'application/octet-stream') =>
  pack(imageExportStream, ImageExportStream.fromPartial({ stream, mediaType }))
const options = undefined

describe('a transfer from an import stream to an export stream', () => {
  test.each([
    ['nothing', 0],
    ['a byte', 1],
    ['less than a window', 40_000],
    ['many windows', 5_000_001],
  ])('passes %s on as it is', async (_, size) => {
    const call = world.fresh()
    const bytes = Buffer.alloc(size, 'somecontent')
    const from = await sending(world.streams, call, bytes)
    const to = await receiving(world.streams, call)
    await world.transfer({ source: source(from.id), destination: destination(to.id), options }, call)
    expect((await to.bytes).equals(bytes)).toBe(true)
    await from.done
  })

  test('ends when the receiver has gone, and lets go of the sender', async () => {
    const call = world.fresh()
    const from = await sending(world.streams, call, Buffer.alloc(5_000_000))
    const to = await openClientStream(world.streams, call)
    const transfer = world.transfer({ source: source(from.id), destination: destination(to.id), options }, call)
    to.send(pack(windowUpdate, { update: 1000 }))
    await to.receive()
    to.leave()
    await expect(transfer).rejects.toMatchObject({ code: status.CANCELLED })
    await from.done
  })

  test('ends when the sender has gone', async () => {
    const call = world.fresh()
    const from = await openClientStream(world.streams, call)
    const to = await receiving(world.streams, call)
    const transfer = world.transfer({ source: source(from.id), destination: destination(to.id), options }, call)
    await from.receive()
    from.leave()
    await expect(transfer).rejects.toMatchObject({ code: status.CANCELLED })
  })

  test('needs two streams', async () => {
    const call = world.fresh()
    const both = await openClientStream(world.streams, call)
    const request = { source: source(both.id), destination: destination(both.id), options }
    await expect(world.transfer(request, call)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: `stream "${both.id}" is both ends of a transfer: invalid argument`,
    })
    both.leave()
  })
})

describe('a transfer is refused', () => {
  const store = pack(imageStore, ImageStore.fromPartial({ name: 'a' }))

  test.each([
    ['without a source', undefined, store, status.INVALID_ARGUMENT, 'source is required: invalid argument'],
    ['without a destination', store, undefined, status.INVALID_ARGUMENT, 'destination is required: invalid argument'],
    [
      'from what can only be written',
      destination('x'),
      store,
      status.UNIMPLEMENTED,
      'transfer from containerd.types.transfer.ImageExportStream to containerd.types.transfer.ImageStore: not implemented',
    ],
    ['of an unknown image', store, destination('x'), status.NOT_FOUND, 'image "a": not found'],
    ['over an unknown stream', source('nosuch'), store, status.NOT_FOUND, 'stream "nosuch": not found'],
    [
      'of bytes that are no message',
      { ...store, value: Buffer.from([255]) },
      destination('x'),
      status.INVALID_ARGUMENT,
      expect.stringMatching(/^containerd\.types\.transfer\.ImageStore cannot be read: .+: invalid argument$/),
    ],
  ])('%s', async (_, from, to, code, message) => {
    const call = world.fresh()
    const request = { source: from, destination: to, options }
    await expect(world.transfer(request, call)).rejects.toMatchObject({ code, message })
    expect(await world.leaseIds(call)).toEqual([])
  })

  test("when its progress stream is another namespace's", async () => {
    const stream = await openClientStream(world.streams, world.fresh())
    const request = { source: store, destination: store, options: { progressStream: stream.id } }
    await expect(world.transfer(request, world.fresh())).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: `stream "${stream.id}": not found`,
    })
    stream.leave()
  })

  test('without a namespace', async () => {
    const request = { source: store, destination: store, options }
    await expect(world.transfer(request, makeCall())).rejects.toMatchObject({ code: status.FAILED_PRECONDITION })
  })
})
