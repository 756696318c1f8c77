import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import {
  ContentDefinition,
  Info,
  InfoRequest,
  InfoResponse,
  ReadContentResponse,
  WriteContentRequest,
} from '@flotilla/api/containerd/services/content/v1/content'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createRpcServer, invalidArgument, type RpcServer, type ServiceOf, storedAnswer } from '../index.ts'
import { frame, greeting, message, requestBlock } from '../testing/raw-client.ts'

type Content = ServiceOf<typeof ContentDefinition>

let dir: string
let path: string
let server: RpcServer
let sessions: ClientHttp2Session[]

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'flotilla-http2-'))
  path = join(dir, 'a.sock')
  sessions = []
})
afterEach(async () => {
  for (const session of sessions) session.destroy()
  await server.close(100)
  rmSync(dir, { recursive: true })
})

async function serve(methods: Partial<Content>): Promise<void> {
  server = createRpcServer()
  server.add(ContentDefinition, methods as Content)
  await server.listen(`unix://${path}`)
}

/** A client of another make: Node's. */
function session(settings = {}): ClientHttp2Session {
  const made = connectHttp2('http://flotilla', { createConnection: () => connect(path), settings })
  made.on('error', () => {})
  sessions.push(made)
  return made
}

const request = (made: ClientHttp2Session, method: string, headers = {}) =>
  made.request({
    ':method': 'POST',
    ':path': `/containerd.services.content.v1.Content/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  })

const info = message(InfoRequest.encode({ digest: 'd' }).finish())

/** Status and text with which a call ended. */
async function endOf(stream: ClientHttp2Stream): Promise<[number, string]> {
  let ended: Record<string, unknown> = {}
  stream.on('response', (headers) => {
    if (headers['grpc-status'] !== undefined) ended = headers
  })
  stream.on('trailers', (headers) => {
    ended = headers
  })
  stream.resume()
  await once(stream, 'close')
  return [Number(ended['grpc-status']), decodeURIComponent(String(ended['grpc-message'] ?? ''))]
}

it('serves calls one after the other and at once over one connection', async () => {
  await serve({ info: async ({ digest }) => InfoResponse.fromPartial({ info: { digest, size: 1 } }) })
  const made = session()
  const call = async () => {
    const stream = request(made, 'Info', { 'containerd-namespace': 'n' })
    stream.end(info)
    return InfoResponse.decode((await buffer(stream)).subarray(5)).info?.digest
  }
  for (let time = 0; time < 3; time++) expect(await call()).toBe('d')
  expect(await Promise.all(Array.from({ length: 200 }, call))).toEqual(Array.from({ length: 200 }, () => 'd'))
})

it('keeps to a window of one byte, and shares it between calls', async () => {
  await serve({
    info: async () => InfoResponse.fromPartial({ info: { digest: 'x'.repeat(2_000) } }),
  })
  const made = session({ initialWindowSize: 1 })
  const calls = Array.from({ length: 3 }, async () => {
    const stream = request(made, 'Info')
    stream.end(info)
    return (await buffer(stream)).length
  })
  const one = message(InfoResponse.encode(InfoResponse.fromPartial({ info: { digest: 'x'.repeat(2_000) } })).finish())
  expect(await Promise.all(calls)).toEqual([one.length, one.length, one.length])
})

it('keeps no large memory for a small answer that waits for its window', async () => {
  const encoding = Buffer.from(Info.encode(Info.fromPartial({ digest: 'x'.repeat(100) })).finish())
  const large = Buffer.alloc(64 * 1024)
  const bytes = large.subarray(0, encoding.copy(large))
  await serve({ info: async () => storedAnswer('info', Info, bytes) })
  const made = session({ initialWindowSize: 0 })
  const stream = request(made, 'Info')
  stream.end(info)
  await once(stream, 'response')
  // What was kept would change with it.
  large.fill(0)
  made.settings({ initialWindowSize: 65_535 })
  expect((await buffer(stream)).subarray(-encoding.length)).toEqual(encoding)
})

it('sends no more than a client reads, and goes on when it does', async () => {
  let produced = 0
  const [size, count] = [1_000_000, 50]
  await serve({
    async *read() {
      for (; produced < count; produced++) yield { offset: produced, data: Buffer.alloc(size, produced) }
    },
  })
  const stream = request(session(), 'Read')
  stream.end(message(Buffer.alloc(0)))
  await once(stream, 'response')
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(produced).toBeLessThan(count)
  const bytes = await buffer(stream)
  let at = 0
  for (let index = 0; index < count; index++) {
    const end = at + 5 + bytes.readUInt32BE(at + 1)
    const part = ReadContentResponse.decode(bytes.subarray(at + 5, end))
    expect([part.offset, part.data.equals(Buffer.alloc(size, index))]).toEqual([index, true])
    at = end
  }
  expect(at).toBe(bytes.length)
})

it('takes no more of a client than it reads, and messages cut anywhere', async () => {
  const [size, count] = [1_000_000, 30]
  const proceed = Promise.withResolvers<void>()
  const sizes: number[] = []
  await serve({
    // biome-ignore lint/correctness/useYield: it answers nothing
    async *write(requests) {
      await proceed.promise
      for await (const { data } of requests) sizes.push(data.length)
    },
  })
  const stream = request(session(), 'Write')
  const part = message(
    WriteContentRequest.encode(WriteContentRequest.fromPartial({ data: Buffer.alloc(size) })).finish(),
  )
  let sent = 0
  for (let index = 0; index < count; index++) {
    for (let at = 0; at < part.length; at += 77_777)
      stream.write(part.subarray(at, at + 77_777), () => {
        sent += 1
      })
  }
  stream.end()
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(sent * 77_777).toBeLessThan((size * count) / 2)
  proceed.resolve()
  expect(await endOf(stream)).toEqual([0, ''])
  expect(sizes).toEqual(Array.from({ length: count }, () => size))
})

it('tells an error whose text is long and not ASCII', async () => {
  const text = `größer als ${'x'.repeat(40_000)} % 100`
  await serve({ info: () => Promise.reject(invalidArgument(text)) })
  const made = session({ maxHeaderListSize: 200_000 })
  const stream = request(made, 'Info')
  stream.end(info)
  expect(await endOf(stream)).toEqual([3, `${text}: invalid argument`])
})

it('says what is wrong with a call', async () => {
  await serve({ info: async () => InfoResponse.fromPartial({}) })
  const made = session()
  const ends = async (method: string, body: Buffer, headers = {}) => {
    const stream = request(made, method, headers)
    stream.end(body)
    return endOf(stream)
  }
  const codeOf = async (...call: Parameters<typeof ends>) => (await ends(...call))[0]
  expect(await ends('None', info)).toEqual([
    12,
    'unknown method None for service containerd.services.content.v1.Content',
  ])
  expect(await ends('Info', info, { ':path': '/a.B/C' })).toEqual([12, 'unknown service a.B'])
  expect(await codeOf('Info', Buffer.alloc(0))).toBe(12)
  expect(await codeOf('Info', Buffer.concat([info, info]))).toBe(12)
  expect(await codeOf('Info', info.subarray(0, 6))).toBe(13)
  expect(await codeOf('Info', message(Buffer.from([0xff])))).toBe(13)
  expect(await ends('Info', Buffer.from([0, 0xff, 0, 0, 0]))).toEqual([8, expect.stringContaining('larger than max')])
  const odd = message(Buffer.from('no'), 1)
  expect(await ends('Info', odd)).toEqual([13, expect.stringContaining('compressed flag set with identity')])
  expect(await codeOf('Info', odd, { 'grpc-encoding': 'zstd' })).toBe(12)
  expect(await codeOf('Info', odd, { 'grpc-encoding': 'gzip' })).toBe(13)
  expect(await codeOf('Info', message(Buffer.from('no'), 2))).toBe(13)
  expect(await codeOf('Info', info, { 'grpc-timeout': 'soon' })).toBe(13)
  const packed = message(gzipSync(info.subarray(5)), 1)
  expect(await ends('Info', packed, { 'grpc-encoding': 'gzip' })).toEqual([0, ''])
  const bomb = message(gzipSync(Buffer.alloc(20_000_000)), 1)
  expect(await codeOf('Info', bomb, { 'grpc-encoding': 'gzip' })).toBe(8)
})

it('answers what is no gRPC with a status of HTTP', async () => {
  await serve({})
  const status = async (headers: Record<string, string>) => {
    const stream = request(session(), 'Info', headers)
    stream.end()
    const [answer] = await once(stream, 'response')
    return answer[':status']
  }
  expect(await status({ 'content-type': 'application/json' })).toBe(415)
  expect(await status({ ':method': 'GET' })).toBe(405)
})

it('ends a call at its deadline and tells its method', async () => {
  const aborted = Promise.withResolvers<void>()
  await serve({
    info: (_, call) =>
      new Promise(() => {
        call.signal.addEventListener('abort', () => aborted.resolve())
      }),
  })
  const stream = request(session(), 'Info', { 'grpc-timeout': '50m' })
  stream.end(info)
  expect(await endOf(stream)).toEqual([4, 'context deadline exceeded'])
  await aborted.promise
})

it('tells a method that its client reset the call, or went', async () => {
  const aborts: Array<() => void> = []
  const begun: Array<() => void> = []
  await serve({
    info: (_, call) =>
      new Promise(() => {
        begun.shift()?.()
        call.signal.addEventListener('abort', () => aborts.shift()?.())
      }),
  })
  for (const leave of [(stream: ClientHttp2Stream) => stream.close(8), () => sessions.at(-1)?.destroy()]) {
    const [here, gone] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    begun.push(here.resolve)
    aborts.push(gone.resolve)
    const stream = request(session(), 'Info')
    stream.on('error', () => {})
    stream.end(info)
    await here.promise
    leave(stream)
    await gone.promise
  }
})

it('says that its table is empty to a client that takes none', async () => {
  await serve({ info: async () => InfoResponse.fromPartial({}) })
  const made = session({ headerTableSize: 0 })
  for (let time = 0; time < 2; time++) {
    const stream = request(made, 'Info')
    stream.end(info)
    expect(await endOf(stream)).toEqual([0, ''])
  }
})

it('lets running calls end when it closes, and takes no more', async () => {
  const begun = Promise.withResolvers<void>()
  const proceed = Promise.withResolvers<void>()
  await serve({
    info: async () => {
      begun.resolve()
      await proceed.promise
      return InfoResponse.fromPartial({})
    },
  })
  const made = session()
  const stream = request(made, 'Info')
  stream.end(info)
  await begun.promise
  const goodbye = once(made, 'goaway')
  const closed = server.close(10_000)
  await goodbye
  proceed.resolve()
  expect(await endOf(stream)).toEqual([0, ''])
  await closed
})

/** Sends bytes and gives all that came until the server closed the connection. */
async function hungUpOn(bytes: Buffer): Promise<Buffer> {
  const socket: Socket = connect(path)
  socket.write(bytes)
  return await buffer(socket)
}

it.each([
  ['HTTP/1', Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n'), 1],
  ['a frame that is too large', Buffer.concat([greeting, frame(0, 0, 1, Buffer.alloc(20_000))]), 6],
  ['data of a stream that was not begun', Buffer.concat([greeting, frame(0, 0, 1, Buffer.alloc(1))]), 1],
  ['headers that cannot be read', Buffer.concat([greeting, frame(1, 5, 1, Buffer.from([0xff]))]), 9],
  ['another frame within headers', Buffer.concat([greeting, frame(1, 0, 1), frame(6, 0, 0, Buffer.alloc(8))]), 1],
  [
    'headers without an end',
    Buffer.concat([greeting, frame(1, 0, 1), ...Array.from({ length: 70_000 }, () => frame(9, 0, 1))]),
    1,
  ],
  [
    'a first frame that is not its settings',
    Buffer.concat([greeting.subarray(0, 24), frame(6, 0, 0, Buffer.alloc(8))]),
    1,
  ],
  ['an acknowledgement with a payload', Buffer.concat([greeting, frame(4, 1, 0, Buffer.alloc(6))]), 6],
  ['a ping of a wrong size', Buffer.concat([greeting, frame(6, 0, 0, Buffer.alloc(7))]), 6],
  ['a ping of a stream', Buffer.concat([greeting, frame(6, 0, 1, Buffer.alloc(8))]), 1],
  ['a promise', Buffer.concat([greeting, frame(5, 4, 1, Buffer.alloc(4))]), 1],
  ['a continuation of nothing', Buffer.concat([greeting, frame(9, 4, 1)]), 1],
  ['a reset of a stream that was not begun', Buffer.concat([greeting, frame(3, 0, 1, Buffer.alloc(4))]), 1],
  ['a window that is opened by nothing', Buffer.concat([greeting, frame(8, 0, 0, Buffer.alloc(4))]), 1],
  ['a setting that is out of its range', Buffer.concat([greeting, frame(4, 0, 0, Buffer.from([0, 5, 0, 0, 0, 1]))]), 1],
  ['a stream of a server', Buffer.concat([greeting, frame(1, 5, 2, Buffer.from([0x82]))]), 1],
  ['settings that are cut off', Buffer.concat([greeting, frame(4, 0, 0, Buffer.alloc(5))]), 6],
  ['a window that overflows', Buffer.concat([greeting, frame(8, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff]))]), 3],
  ['more padding than payload', Buffer.concat([greeting, frame(1, 5 | 8, 1, Buffer.from([9, 0x82]))]), 1],
])('hangs up on %s, and says why', async (_, bytes, code) => {
  await serve({})
  const said = await hungUpOn(bytes)
  // The last frame is the good-bye: 9 bytes, the last stream, the code.
  expect(said.readUInt8(said.length - 17 + 3)).toBe(7)
  expect(said.readUInt32BE(said.length - 4)).toBe(code)
})

it('answers pings, and takes frames that come byte by byte, padded and with priorities', async () => {
  await serve({ info: async () => InfoResponse.fromPartial({}) })
  const socket = connect(path)
  socket.setNoDelay(true)
  const headers = requestBlock('Info')
  const padded = (payload: Buffer) => Buffer.concat([Buffer.from([3]), payload, Buffer.alloc(3)])
  const bytes = Buffer.concat([
    greeting,
    frame(1, 0x28, 1, padded(Buffer.concat([Buffer.from([0, 0, 0, 0, 16]), headers.subarray(0, 10)]))),
    frame(9, 4, 1, headers.subarray(10)),
    frame(0, 8, 1, padded(info.subarray(0, 3))),
    frame(0, 1, 1, info.subarray(3)),
    frame(99, 0, 0, Buffer.alloc(4)),
    frame(6, 0, 0, Buffer.from('12345678')),
  ])
  for (const byte of bytes) socket.write(Buffer.from([byte]))
  let came = Buffer.alloc(0)
  for await (const chunk of socket) {
    came = Buffer.concat([came, chunk])
    if (came.includes('12345678') && came.includes('grpc-status')) break
  }
  expect(came.includes(Buffer.from('grpc-status\x010'))).toBe(true)
})
