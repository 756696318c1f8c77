import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Any } from '@flotilla/api/google/protobuf/any'
import { makeCall, status } from '@flotilla/rpc'
import { expect, test } from 'vitest'
import { OpenStream } from './open-stream.ts'

const message = (size = 1) => Any.fromPartial({ typeUrl: 'x', value: Buffer.alloc(size) })
const silent = { next: () => new Promise<never>(() => {}) }
const gone = { code: status.CANCELLED, message: 'the client left the stream: context canceled' }

test('keeps nothing of what went through', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const incoming = { next: async () => ({ done: false as const, value: message() }) }
  const stream = new OpenStream(incoming, makeCall())
  const outgoing = stream.outgoing()
  const taking = (async () => {
    for await (const _ of outgoing);
  })()
  const pass = async (count: number) => {
    for (; count > 0; count--) {
      await stream.receive()
      await stream.send(message())
    }
    await nextTurn()
    collect()
    return process.memoryUsage().heapUsed
  }
  const before = await pass(1_000)
  const messages = 50_000
  expect(((await pass(messages)) - before) / messages).toBeLessThan(20)
  stream.close()
  await taking
})

test('fails whoever waits when the client goes, also for a message that is on its way', async () => {
  const client = new AbortController()
  const stream = new OpenStream(silent, makeCall({ signal: client.signal }))
  const receiving = stream.receive()
  const first = stream.send(message())
  const second = stream.send(message())
  // The connection has the first one, and never asks for another.
  await stream.outgoing().next()
  const failures = Promise.allSettled([receiving, first, second])
  client.abort(new Error('killed'))
  for (const outcome of await failures) expect(outcome).toMatchObject({ status: 'rejected', reason: gone })
  await expect(stream.send(message())).rejects.toMatchObject(gone)
  await expect(stream.receive()).rejects.toMatchObject(gone)
})

test('ends when it is closed, after what was sent', async () => {
  const stream = new OpenStream(silent, makeCall())
  void stream.send(message(1))
  void stream.send(message(2))
  stream.close()
  const sizes = (await Array.fromAsync(stream.outgoing())).map(({ value }) => value.length)
  expect(sizes).toEqual([1, 2])
  await expect(stream.send(message())).rejects.toMatchObject({ code: status.CANCELLED })
})
