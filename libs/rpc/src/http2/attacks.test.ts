import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import {
  ContentDefinition,
  InfoRequest,
  InfoResponse,
  WriteContentRequest,
} from '@flotilla/api/containerd/services/content/v1/content'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createRpcServer, type RpcServer, type ServiceOf } from '../index.ts'
import {
  codeOf,
  field,
  frame,
  greeting,
  isEnd,
  isGoodbye,
  isReset,
  message,
  type RawClient,
  rawClient,
  requestBlock,
  statusOf,
  uint32,
} from '../testing/raw-client.ts'

type Content = ServiceOf<typeof ContentDefinition>

let dir: string
let path: string
let server: RpcServer
let address: string
const clients: RawClient[] = []
/** Methods of calls that are over. */
let ended: string[]

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'flotilla-attacks-'))
  path = join(dir, 'a.sock')
  ended = []
})
afterEach(async () => {
  vi.useRealTimers()
  for (const client of clients.splice(0)) client[Symbol.dispose]()
  await server.close(100)
  rmSync(dir, { recursive: true })
})

async function serve(methods: Partial<Content>): Promise<void> {
  server = createRpcServer({ observe: ({ method }) => ended.push(method) })
  server.add(ContentDefinition, methods as Content)
  await server.listen(`unix://${path}`)
  address = await server.listen('127.0.0.1:0')
}

function client(greet = greeting): RawClient {
  const made = rawClient({ path }, greet)
  clients.push(made)
  return made
}

const answer = async () => InfoResponse.fromPartial({})
const info = message(InfoRequest.encode({ digest: 'd' }).finish())
const begin = (stream: number, method = 'Info') => frame(1, 4, stream, requestBlock(method))
const call = (stream: number) => Buffer.concat([begin(stream), frame(0, 1, stream, info)])
const reset = (stream: number) => frame(3, 0, stream, uint32(8))

/** Shows that a connection still serves. */
async function serves(to: RawClient, stream: number): Promise<void> {
  to.send(call(stream))
  expect(statusOf(await to.frame(isEnd(stream)))).toBe(0)
}

const settledAt = async <T>(look: () => T): Promise<T> => {
  for (let before = look(); ; ) {
    await sleep(200)
    const now = look()
    if (now === before) return now
    before = now
  }
}

it('works for a client on no more calls than it may have streams, though it resets them', async () => {
  let begun = 0
  const proceed = Promise.withResolvers<void>()
  await serve({
    info: async () => {
      begun++
      await proceed.promise
      return answer()
    },
  })
  const attacker = client()
  const last = 2 * 10_000 + 1
  for (let stream = 1; stream < last; stream += 2) attacker.send(call(stream), reset(stream))
  attacker.send(call(last))
  expect(codeOf(await attacker.frame(isReset(last)))).toBe(7)
  expect(begun).toBe(10_000)
  proceed.resolve()
  await serves(attacker, last + 2)
  expect(ended.length).toBe(10_001)
})

it('lets others have their turn beside a client that calls without an end', async () => {
  const begun: string[] = []
  await serve({
    info: async ({ digest }) => {
      begun.push(digest)
      return answer()
    },
  })
  const [greedy, modest] = [client(), client()]
  for (const each of [greedy, modest]) await each.frame(({ type, flags }) => type === 4 && flags === 1)
  const of = (stream: number, digest: string) =>
    Buffer.concat([begin(stream), frame(0, 1, stream, message(InfoRequest.encode({ digest }).finish()))])
  greedy.send(...Array.from({ length: 5_000 }, (_, index) => of(2 * index + 1, 'greedy')))
  modest.send(of(1, 'modest'))
  expect(statusOf(await greedy.frame(isEnd(9_999)))).toBe(0)
  expect(begun.indexOf('modest')).toBeGreaterThanOrEqual(0)
  expect(begun.indexOf('modest')).toBeLessThan(1_000)
})

it('hangs up on a client that resets calls without an end', async () => {
  await serve({
    info: (_, { signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  })
  const attacker = client()
  for (let stream = 1; stream < 100_000; stream += 2) attacker.send(call(stream), reset(stream))
  expect(codeOf(await attacker.frame(isGoodbye))).toBe(11)
  await attacker.closed
  expect(ended.length).toBeLessThan(50_000)
})

it('refuses more streams at a time than it said', async () => {
  await serve({ write: () => (async function* () {})() })
  const attacker = client()
  // Calls that never get their one request do not even begin.
  const last = 2 * 10_000 + 1
  for (let stream = 1; stream <= last; stream += 2) attacker.send(begin(stream))
  expect(codeOf(await attacker.frame(isReset(last)))).toBe(7)
  expect(attacker.frames.filter(({ type }) => type === 3)).toHaveLength(1)
})

it('takes no headers that count more than it said, and serves on', async () => {
  await serve({ info: answer })
  const attacker = client()
  // A large field goes into the table, and is pointed to often.
  const large = Buffer.concat([Buffer.from([0x40, 1, 0x61, 0x7f, 0x81, 0x16]), Buffer.alloc(2_944, 0x76)])
  attacker.send(frame(1, 5, 1, Buffer.concat([requestBlock('Info'), large, Buffer.alloc(5_000, 0xbe)])))
  expect(codeOf(await attacker.frame(isReset(1)))).toBe(11)
  await serves(attacker, 3)
})

it.each([
  ['a field with a large letter', field('Name', 'a')],
  ['a field with a line break', field('name', 'a\r\nb')],
  ['a field of the connection', field('connection', 'close')],
  ['another te than trailers', field('te', 'gzip')],
  ['a pseudo field behind others', field(':scheme', 'http')],
  ['an unknown pseudo field', field(':status', '200')],
])('resets a call with %s', async (_, extra) => {
  await serve({ info: answer })
  const attacker = client()
  attacker.send(frame(1, 5, 1, Buffer.concat([requestBlock('Info'), extra])))
  expect(codeOf(await attacker.frame(isReset(1)))).toBe(1)
  await serves(attacker, 3)
})

it('hangs up on a flood of settings', async () => {
  await serve({ info: answer })
  const attacker = client()
  for (let time = 0; time < 1_000; time++) attacker.send(frame(4, 0, 0, Buffer.from([0, 4, 0, 0, 0, time % 2])))
  expect(codeOf(await attacker.frame(isGoodbye))).toBe(11)
})

it.each([
  ['pings', frame(6, 0, 0, Buffer.alloc(8))],
  ['calls of what is not there', undefined],
])('reads no more %s of a client that does not read the answers, and answers all when it does', async (_, sent) => {
  await serve({})
  const attacker = client()
  await attacker.frame(({ type }) => type === 4)
  attacker.socket.pause()
  const [rounds, each] = [50, 2_000]
  for (let round = 0, stream = 1; round < rounds; round++) {
    const batch = Array.from({ length: each }, () => {
      stream += 2
      return sent ?? begin(stream, 'None')
    })
    attacker.send(...batch)
  }
  const total = attacker.socket.bytesWritten
  const taken = await settledAt(() => total - attacker.socket.writableLength)
  expect(taken).toBeLessThan(total)
  attacker.socket.resume()
  const answers = () => attacker.frames.filter(({ type }) => type === (sent ? 6 : 1)).length
  while (answers() < rounds * each) await sleep(50)
  expect(answers()).toBe(rounds * each)
})

it('takes empty data without an end for what it is: nothing', async () => {
  await serve({ info: answer })
  const attacker = client()
  attacker.send(begin(1), ...Array.from({ length: 100_000 }, () => frame(0, 0, 1)))
  attacker.send(...Array.from({ length: 10_000 }, () => frame(0, 8, 1, Buffer.alloc(101, 100).fill(0, 1))))
  attacker.send(frame(0, 1, 1, info))
  expect(statusOf(await attacker.frame(isEnd(1)))).toBe(0)
})

it('lets messages in the making have so much memory and no more, and completes them in turn', async () => {
  const sizes: number[] = []
  await serve({
    // biome-ignore lint/correctness/useYield: it answers nothing
    async *write(requests) {
      for await (const { data } of requests) sizes.push(data.length)
    },
  })
  const attacker = client()
  const data = Buffer.alloc(8 * 1024 * 1024)
  const large = message(WriteContentRequest.encode(WriteContentRequest.fromPartial({ data })).finish())
  const streams = Array.from({ length: 40 }, (_, index) => 2 * index + 1)
  for (const stream of streams) attacker.send(begin(stream, 'Write'), frame(0, 0, stream, large.subarray(0, 5)))
  const allowed = (stream: number) =>
    attacker.frames
      .filter((came) => came.type === 8 && came.stream === stream)
      .reduce((sum, { payload }) => sum + payload.readUInt32BE(), 65_535)
  const isAllowed = (stream: number) => allowed(stream) >= large.length
  const all = () => streams.reduce((sum, stream) => sum + allowed(stream) - 65_535, 0)
  attacker.send(frame(6, 0, 0, Buffer.alloc(8)))
  await attacker.frame(({ type }) => type === 6)
  expect(all()).toBeLessThanOrEqual(256 * 1024 * 1024)
  expect(streams.filter(isAllowed).length).toBeGreaterThanOrEqual(30)
  // Each goes on as soon as it may.
  for (const stream of streams) {
    await attacker.frame(() => isAllowed(stream))
    for (let at = 5; at < large.length; at += 16_384)
      attacker.send(
        frame(0, at + 16_384 >= large.length ? 1 : 0, stream, large.subarray(at, Math.min(at + 16_384, large.length))),
      )
    expect(statusOf(await attacker.frame(isEnd(stream)))).toBe(0)
  }
  expect(sizes).toEqual(streams.map(() => data.length))
})

it('resets a stream whose client sends more than its window', async () => {
  await serve({
    write: () =>
      (async function* () {
        await new Promise(() => {})
      })(),
  })
  const attacker = client()
  attacker.send(begin(1, 'Write'), ...Array.from({ length: 5 }, () => frame(0, 0, 1, Buffer.alloc(16_384))))
  expect(codeOf(await attacker.frame(isReset(1)))).toBe(3)
})

it('unpacks a message when it is read and not before', async () => {
  const proceed = Promise.withResolvers<void>()
  let read = 0
  await serve({
    // biome-ignore lint/correctness/useYield: it answers nothing
    async *write(requests) {
      await proceed.promise
      for await (const { data } of requests) {
        expect(data.length).toBe(15_000_000)
        read++
        return
      }
    },
  })
  const attacker = client()
  const bytes = WriteContentRequest.encode(WriteContentRequest.fromPartial({ data: Buffer.alloc(15_000_000) })).finish()
  const packed = message(gzipSync(bytes), 1)
  const before = process.memoryUsage().arrayBuffers
  for (const stream of [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]) {
    attacker.send(frame(1, 4, stream, Buffer.concat([requestBlock('Write'), field('grpc-encoding', 'gzip')])))
    for (let room = 65_535; room > packed.length; room -= packed.length)
      for (let at = 0; at < packed.length; at += 16_384)
        attacker.send(frame(0, 0, stream, packed.subarray(at, at + 16_384)))
  }
  attacker.send(frame(6, 0, 0, Buffer.alloc(8)))
  await attacker.frame(({ type }) => type === 6)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(15_000_000)
  proceed.resolve()
  for (let stream = 1; stream < 20; stream += 2) expect(statusOf(await attacker.frame(isEnd(stream)))).toBe(0)
  expect(read).toBe(10)
})

it('keeps no more answers than so many for a client that does not open its windows', async () => {
  const digest = 'x'.repeat(8_000_000)
  await serve({ info: async () => InfoResponse.fromPartial({ info: { digest } }) })
  const attacker = client(Buffer.concat([greeting, frame(4, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0]))]))
  for (let stream = 1; stream < 80; stream += 2) attacker.send(call(stream))
  const ends = () => attacker.frames.filter(({ type, flags }) => type === 1 && (flags & 1) !== 0)
  await attacker.frame(() => ended.length === 40 && ends().length >= 7)
  expect(ends().map(statusOf)).toEqual(Array.from({ length: 7 }, () => 8))
})

it('hangs up on a client that does not begin', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  await serve({ info: answer })
  const slow = client(greeting.subarray(0, 20))
  const good = client()
  await good.frame(({ type, flags }) => type === 4 && flags === 1)
  await slow.frame(({ type }) => type === 4)
  vi.advanceTimersByTime(20_000)
  await slow.closed
  await serves(good, 1)
})

it('hangs up on a client over TCP that has gone without a word', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  await serve({ info: answer })
  const where = { host: '127.0.0.1', port: Number(address.split(':')[1]) }
  const [gone, silent] = [rawClient(where), rawClient(where)]
  clients.push(gone, silent)
  for (const each of [gone, silent]) await each.frame(({ type, flags }) => type === 4 && flags === 1)
  const isPing = ({ type }: { type: number }) => type === 6
  for (let round = 1; round <= 4; round++) {
    vi.advanceTimersByTime(30_000)
    if (round !== 2 && round !== 4) continue
    await silent.frame(() => silent.frames.filter(isPing).length === round / 2)
    silent.send(frame(6, 1, 0, Buffer.alloc(8)), frame(6, 0, 0, Buffer.from('answered')))
    await silent.frame(({ payload }) => payload.includes('answered'))
  }
  await gone.closed
  expect(gone.frames.filter(isPing).length).toBeGreaterThan(0)
  await serves(silent, 1)
})

it('ends running calls of a client that goes on with new ones while it closes', async () => {
  const begun = Promise.withResolvers<void>()
  const proceed = Promise.withResolvers<void>()
  await serve({
    info: async () => {
      begun.resolve()
      await proceed.promise
      return answer()
    },
  })
  const other = client()
  other.send(call(1))
  await begun.promise
  const closed = server.close(30_000)
  expect((await other.frame(isGoodbye)).payload.readUInt32BE()).toBe(1)
  other.send(call(3), call(5))
  expect(codeOf(await other.frame(isReset(5)))).toBe(7)
  proceed.resolve()
  expect(statusOf(await other.frame(isEnd(1)))).toBe(0)
  await Promise.all([closed, other.closed])
})

it('takes trailers of a client for the end of its request', async () => {
  await serve({ info: answer })
  const other = client()
  other.send(begin(1), frame(0, 0, 1, info), frame(1, 5, 1, field('name', 'value')))
  expect(statusOf(await other.frame(isEnd(1)))).toBe(0)
  other.send(begin(3), frame(1, 4, 3, field('name', 'value')))
  expect(codeOf(await other.frame(isReset(3)))).toBe(1)
  await serves(other, 5)
})

it('resets a stream whose window is opened by nothing or too far, and hangs up when settings do that', async () => {
  await serve({
    write: () =>
      (async function* () {
        await new Promise(() => {})
      })(),
    info: answer,
  })
  const attacker = client()
  attacker.send(begin(1, 'Write'), frame(8, 0, 1, uint32(0)))
  expect(codeOf(await attacker.frame(isReset(1)))).toBe(1)
  attacker.send(begin(3, 'Write'), frame(8, 0, 3, uint32(0x7fff_ffff)))
  expect(codeOf(await attacker.frame(isReset(3)))).toBe(3)
  attacker.send(begin(5, 'Write'), frame(8, 0, 5, uint32(0x7fff_0000)))
  attacker.send(frame(4, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(0x7fff_ffff)])))
  expect(codeOf(await attacker.frame(isGoodbye))).toBe(3)
})

it('ends every call of a client that goes at any byte', async () => {
  let begun = 0
  let running = 0
  await serve({
    async *write(requests, { signal }) {
      begun++
      running++
      signal.addEventListener('abort', () => running--)
      for await (const _ of requests);
      await new Promise(() => {})
    },
    info: answer,
  })
  const part = message(WriteContentRequest.encode(WriteContentRequest.fromPartial({ ref: 'r' })).finish())
  const whole = Buffer.concat([
    greeting,
    begin(1, 'Write'),
    frame(0, 0, 1, part),
    begin(3, 'Write'),
    frame(0, 1, 3, part),
  ])
  await Promise.all(
    Array.from({ length: whole.length + 1 }, async (_, length) => {
      const leaving = client(whole.subarray(0, length))
      leaving.socket.end()
      await leaving.closed
    }),
  )
  while (running > 0 || ended.length < begun) await sleep(10)
  expect(begun).toBeGreaterThan(whole.length / 2)
  await serves(client(), 1)
})
