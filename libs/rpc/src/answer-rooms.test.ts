import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import {
  ContentDefinition,
  ReadContentRequest,
  ReadContentResponse,
} from '@flotilla/api/containerd/services/content/v1/content'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { AnswerRooms, takeLaidOut } from './answer-rooms.ts'
import { type Call, createRpcServer, dataLoss, makeCall, type RpcServer, type ServiceOf } from './index.ts'
import { message } from './testing/raw-client.ts'

type Content = ServiceOf<typeof ContentDefinition>

let dir: string
let path: string
let server: RpcServer
let sessions: ClientHttp2Session[]
let memories: Set<ArrayBufferLike>

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'flotilla-rooms-'))
  path = join(dir, 'a.sock')
  sessions = []
  memories = new Set()
  server = createRpcServer()
  server.add(ContentDefinition, { read } as Partial<Content> as Content)
  await server.listen(`unix://${path}`)
})
afterEach(async () => {
  for (const session of sessions) session.destroy()
  await server.close(100)
  rmSync(dir, { recursive: true })
})

const blobs = new Map(
  [1, 1_000, 3 * 16_384 - 12, 3 * 16_384 - 11, 3 * 16_384, 100_000, 64 * 16_384, 3_500_000].map((size) => [
    String(size),
    randomBytes(size),
  ]),
)

/** Reads as a content service does; after `size` bytes, where that is given, something is wrong. */
async function* read({ digest, size }: ReadContentRequest, call: Call): AsyncGenerator<ReadContentResponse> {
  const blob = blobs.get(digest)
  if (blob === undefined || call.rooms === undefined) throw dataLoss('nothing to read, or no rooms')
  for (let at = 0; at < blob.length; ) {
    const room = call.rooms.take(ReadContentResponse, { offset: at }, ['data', 2], blob.length - at)
    let from = at
    for (const place of room.places) {
      memories.add(place.buffer)
      from += blob.copy(place, 0, from)
    }
    expect(from - at).toBe(room.length)
    await turn()
    if (size > 0 && at + room.length > size) throw dataLoss(`no more than ${at}`)
    at += room.length
    yield room.answer
  }
}

function session(settings: { initialWindowSize?: number; maxFrameSize?: number } = {}): ClientHttp2Session {
  const made = connectHttp2('http://flotilla', { createConnection: () => connect(path), settings })
  made.on('error', () => {})
  sessions.push(made)
  return made
}

function ask(made: ClientHttp2Session, digest: string, size = 0): ClientHttp2Stream {
  const stream = made.request({
    ':method': 'POST',
    ':path': '/containerd.services.content.v1.Content/Read',
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  stream.on('error', () => {})
  stream.end(message(ReadContentRequest.encode({ digest, offset: 0, size }).finish()))
  return stream
}

/** What came of a blob, and the status after it. */
async function answered(stream: ClientHttp2Stream): Promise<{ readonly bytes: Buffer; readonly status: number }> {
  let status = -1
  stream.on('trailers', (headers) => {
    status = Number(headers['grpc-status'])
  })
  stream.on('response', (headers) => {
    if (headers['grpc-status'] !== undefined) status = Number(headers['grpc-status'])
  })
  const pieces: Buffer[] = []
  for await (const piece of stream) {
    pieces.push(piece)
    // Slower than the server.
    if (pieces.length % 3 === 0) await turn()
  }
  const all = Buffer.concat(pieces)
  const data: Buffer[] = []
  for (let at = 0, offset = 0; at < all.length; ) {
    const end = at + 5 + all.readUInt32BE(at + 1)
    const decoded = ReadContentResponse.decode(all.subarray(at + 5, end))
    expect([all[at], decoded.offset, end <= all.length]).toEqual([0, offset, true])
    data.push(decoded.data)
    offset += decoded.data.length
    at = end
  }
  return { bytes: Buffer.concat(data), status }
}

const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

async function expectWhole(made: ClientHttp2Session, digest: string): Promise<void> {
  const { bytes, status } = await answered(ask(made, digest))
  expect([digest, status, hashOf(bytes)]).toEqual([digest, 0, hashOf(blobs.get(digest) ?? Buffer.alloc(0))])
}

it.each([
  { initialWindowSize: 5_000 },
  { initialWindowSize: 16_383 },
  { initialWindowSize: 16_384 },
  {},
  { initialWindowSize: 100_001, maxFrameSize: 100_000 },
  { initialWindowSize: 10_000_000 },
])('sends what is in the rooms whatever the windows, of calls side by side: %j', async (settings) => {
  const made = session(settings)
  await Promise.all([...blobs.keys()].map((digest) => expectWhole(made, digest)))
  for (const digest of blobs.keys()) await expectWhole(made, digest)
})

it('uses a room again once its answer is out, and not before', async () => {
  const made = session()
  for (let time = 0; time < 5; time++) await expectWhole(made, '3500000')
  const rooms = memories.size
  expect(rooms).toBeLessThanOrEqual(4)
  // Two that read slowly beside one that does not, of another connection.
  const slow = [ask(made, '3500000'), ask(made, '3500000')]
  await Promise.all(slow.map((stream) => once(stream, 'response')))
  const other = session({ initialWindowSize: 10_000_000 })
  for (let time = 0; time < 5; time++) await expectWhole(other, '3500000')
  for (const stream of slow) expect(hashOf((await answered(stream)).bytes)).toBe(hashOf(blobs.get('3500000') as Buffer))
})

it('does not mix up what is left of calls that their clients gave up', async () => {
  for (let time = 0; time < 10; time++) {
    const made = session({ initialWindowSize: 300_000 })
    const [first, second] = [ask(made, '3500000'), ask(made, '3500000')]
    const small = expectWhole(made, '100000')
    await Promise.all([first, second].map((stream) => once(stream, 'response')))
    first.close(8)
    const whole = expectWhole(made, '3500000')
    second.close(8)
    await Promise.all([small, whole])
    made.destroy()
  }
})

it('tells of a failure after the answers before it', async () => {
  const { bytes, status } = await answered(ask(session(), '3500000', 2_500_000))
  expect(status).toBe(15)
  expect(bytes.length).toBeGreaterThan(2_000_000)
  expect(hashOf(bytes)).toBe(hashOf((blobs.get('3500000') as Buffer).subarray(0, bytes.length)))
  expect((await answered(ask(session(), '100000', 1))).status).toBe(15)
})

it('shows an answer to who asks in this process, until it is sent', async () => {
  const rooms = new AnswerRooms()
  const pieces: Buffer[] = []
  for await (const answer of read({ digest: '3500000', offset: 0, size: 0 }, { ...makeCall(), rooms })) {
    pieces.push(answer.data)
    expect(takeLaidOut({ ...answer })).toBeUndefined()
    expect(takeLaidOut(answer)).toBeDefined()
    expect(() => answer.data).toThrow('sent')
  }
  expect(hashOf(Buffer.concat(pieces))).toBe(hashOf(blobs.get('3500000') as Buffer))
})
