import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  ContentDefinition,
  InfoRequest,
  InfoResponse,
  WriteContentRequest,
} from '@flotilla/api/containerd/services/content/v1/content'
import { expect, it } from 'vitest'
import { createRpcServer, RpcError, type ServiceOf } from '../index.ts'
import { MessageReader } from '../message-reader.ts'
import {
  field,
  frame,
  greeting,
  isEnd,
  message,
  rawClient,
  requestBlock,
  statusOf,
  uint32,
} from '../testing/raw-client.ts'
import { FrameReader } from './frames.ts'
import { HeaderDecoder } from './hpack.ts'

// The same mutations in every run.

/** Whole numbers from 0 up to a bound. */
function randomly(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const info = message(InfoRequest.encode({ digest: 'd' }).finish())
const part = message(
  WriteContentRequest.encode(WriteContentRequest.fromPartial({ data: Buffer.alloc(30_000) })).finish(),
)
const padded = (payload: Buffer) => Buffer.concat([Buffer.from([3]), payload, Buffer.alloc(3)])

/** Frames of clients that do nothing wrong. */
const sound: readonly Buffer[] = [
  frame(4, 0, 0, Buffer.from([0, 4, 0, 1, 0, 0])),
  frame(4, 0, 0, Buffer.from([0, 1, 0, 0, 0, 0])),
  frame(4, 1, 0),
  frame(6, 0, 0, Buffer.alloc(8)),
  frame(8, 0, 0, uint32(100_000)),
  frame(1, 4, 1, requestBlock('Info')),
  frame(0, 1, 1, info),
  frame(1, 4, 3, requestBlock('Write')),
  frame(0, 0, 3, part.subarray(0, 16_000)),
  frame(0, 0, 3, part.subarray(16_000)),
  frame(8, 0, 3, uint32(1_000)),
  frame(0, 9, 3, padded(part.subarray(0, 0))),
  frame(1, 0x28, 5, padded(Buffer.concat([Buffer.alloc(5), requestBlock('Read').subarray(0, 20)]))),
  frame(9, 0, 5, requestBlock('Read').subarray(20)),
  frame(9, 4, 5, field('grpc-timeout', '100m')),
  frame(0, 9, 5, padded(info)),
  frame(2, 0, 5, Buffer.alloc(5)),
  frame(3, 0, 5, uint32(8)),
  frame(1, 4, 7, Buffer.concat([requestBlock('Write'), field('grpc-encoding', 'gzip')])),
  frame(0, 1, 7, message(Buffer.from('nothing packed'), 1)),
  frame(99, 0, 0, Buffer.alloc(10)),
  frame(7, 0, 0, Buffer.alloc(8)),
]

function mutated(random: (below: number) => number): Buffer {
  const frames: Buffer[] = sound.map((bytes) => Buffer.from(bytes))
  const place = () => random(frames.length)
  for (let left = 1 + random(6); left > 0; left--) {
    const one = frames[place()] as Buffer
    const kind = random(7)
    if (kind === 0) one[random(one.length)] = random(256)
    // Heads are where most is decided.
    else if (kind <= 2) one[random(9)] = random(kind === 1 ? 256 : 12)
    else if (kind === 3) frames.splice(place(), 1)
    else if (kind === 4) frames.splice(place(), 0, one)
    else if (kind === 5) frames.splice(place(), 1, one.subarray(0, random(one.length)))
    else frames.splice(place(), 0, Buffer.from(Array.from({ length: random(40) }, () => random(256))))
  }
  const bytes = Buffer.concat([greeting, ...frames])
  if (random(20) === 0) bytes[random(33)] = random(256)
  return bytes.subarray(0, random(5) === 0 ? random(bytes.length) : bytes.length)
}

it('serves on whatever frames come, ends every call that they began, and keeps nothing', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'flotilla-fuzz-'))
  const path = join(dir, 'a.sock')
  let [running, finished] = [0, 0]
  await using server = createRpcServer({ observe: () => finished++ })
  server.add(ContentDefinition, {
    info: async () => InfoResponse.fromPartial({ info: { digest: 'x'.repeat(100_000) } }),
    async *read() {
      for (let offset = 0; ; offset++) yield { offset, data: Buffer.alloc(100_000) }
    },
    async *write(requests) {
      running++
      try {
        for await (const { data } of requests) yield { ...WriteContentRequest.fromPartial({}), total: data.length }
      } finally {
        running--
      }
    },
  } as Partial<ServiceOf<typeof ContentDefinition>> as ServiceOf<typeof ContentDefinition>)
  await server.listen(`unix://${path}`)
  const random = randomly(20_260_101)
  const before = process.memoryUsage().arrayBuffers
  for (let round = 0; round < 250; round++) {
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        const bytes = mutated(random)
        const cut = random(bytes.length)
        const client = rawClient({ path }, bytes.subarray(0, cut))
        // Also clients that go without a word, and such that read nothing.
        const [abrupt, deaf] = [random(4) === 0, random(8) === 0]
        if (deaf) client.socket.pause()
        client.socket.write(bytes.subarray(cut), () => {
          if (abrupt || deaf) client.socket.destroy()
          else client.socket.end()
        })
        await client.closed
      }),
    )
  }
  using other = rawClient({ path })
  other.send(frame(1, 4, 1, requestBlock('Info')), frame(0, 1, 1, info))
  other.send(frame(8, 0, 0, uint32(1_000_000)), frame(8, 0, 1, uint32(1_000_000)))
  expect(statusOf(await other.frame(isEnd(1)))).toBe(0)
  while (running > 0) await new Promise(setImmediate)
  expect(finished).toBeGreaterThan(1_000)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100_000_000)
  rmSync(dir, { recursive: true })
})

it('reads or refuses any header block, in bounded time and memory', () => {
  const random = randomly(7)
  const blocks = [
    requestBlock('Info'),
    Buffer.from('8286848cf1e3c2e5f23a6ba0ab90f4ff', 'hex'),
    Buffer.from('3fe11f4088', 'hex'),
  ]
  let [read, refused] = [0, 0]
  let decoder = new HeaderDecoder()
  for (let round = 0; round < 50_000; round++) {
    const block = Buffer.concat(Array.from({ length: 1 + random(3) }, () => blocks[random(blocks.length)] as Buffer))
    for (let left = random(4); left > 0; left--) block[random(block.length)] = random(256)
    try {
      decoder.decode(block)
      read++
    } catch (error) {
      if (!(error instanceof Error) || error instanceof RangeError || error instanceof TypeError) throw error
      refused++
      decoder = new HeaderDecoder()
    }
  }
  expect(Math.min(read, refused)).toBeGreaterThan(1_000)
})

it('finds the same messages however they are cut, and when more bytes may come only later', () => {
  const random = randomly(11)
  for (let round = 0; round < 300; round++) {
    const wanted = Array.from({ length: random(12) }, () =>
      Buffer.alloc(random(5) === 0 ? random(300_000) : random(20), random(256)),
    )
    const bytes = Buffer.concat(wanted.map((each) => message(each)))
    let allowed = 0
    const reader = new MessageReader('identity', { expect: () => allowed++ % 3 !== 0 })
    const found: Buffer[] = []
    let size = 0
    const take = () => {
      for (let taken = reader.take(); taken; taken = reader.take()) {
        found.push(Buffer.from(taken.message))
        size += taken.size
      }
    }
    for (let at = 0; at < bytes.length; ) {
      const length = random(3) === 0 ? random(8) : random(40_000)
      // The piece is not the reader's to keep.
      const piece = Buffer.from(bytes.subarray(at, at + length))
      reader.push(piece)
      at += length
      piece.fill(0xee)
      if (random(2) === 0) take()
      if (random(3) === 0) reader.reuse()
    }
    take()
    expect(found.map((each) => each.toString('base64'))).toEqual(wanted.map((each) => each.toString('base64')))
    expect([size, reader.empty]).toEqual([bytes.length, true])
  }
})

it('finds the same frames however they are cut, in memory that is used for something else afterwards', () => {
  const random = randomly(17)
  const bytes = Buffer.concat([
    greeting,
    ...Array.from({ length: 400 }, () => {
      const type = [0, 0, 1, 6, 9, 99][random(6)] as number
      const payload = Buffer.alloc(random(3) === 0 ? random(16_385) : random(30), random(256))
      return frame(type, random(3) === 0 ? 8 : 0, 1 + random(9), payload)
    }),
  ])
  const framesOf = (piece: () => number) => {
    const found: string[] = []
    let data = ''
    const reader = new FrameReader(
      {
        // Rests now and then, and goes on with the next piece.
        get resting() {
          return random(5) === 0
        },
        data(stream, part, flags, last) {
          data += part.toString('latin1')
          if (!last) return
          found.push(`data ${stream} ${flags} ${data}`)
          data = ''
        },
        whole: (type, flags, stream, payload) =>
          void found.push(`${type} ${stream} ${flags} ${payload.toString('latin1')}`),
      },
      16_384,
    )
    for (let at = 0; at < bytes.length; ) {
      const chunk = Buffer.from(bytes.subarray(at, at + piece()))
      at += chunk.length
      reader.read(chunk)
      chunk.fill(0xee)
    }
    for (let left = 2_000; left > 0; left--) reader.read(Buffer.alloc(0))
    return found
  }
  const whole = framesOf(() => bytes.length)
  expect(whole).toHaveLength(401)
  for (let round = 0; round < 20; round++)
    expect(framesOf(() => 1 + (random(2) === 0 ? random(40) : random(70_000)))).toEqual(whole)
})

it('refuses any wrong message with a status', () => {
  const random = randomly(13)
  let refused = 0
  for (let round = 0; round < 5_000; round++) {
    const reader = new MessageReader(['identity', 'gzip', 'deflate', 'zstd'][random(4)] ?? '', { expect: () => true })
    const bytes = Buffer.concat([message(Buffer.alloc(random(50), random(256)), random(2)), message(Buffer.alloc(3))])
    bytes[random(bytes.length)] = random(256)
    try {
      reader.push(bytes)
      while (reader.take());
    } catch (error) {
      expect(error).toBeInstanceOf(RpcError)
      refused++
    }
  }
  expect(refused).toBeGreaterThan(1_000)
})
