// The least that a server in Node can be: answers every call on a unix socket with the same bytes, without looking at what
// was asked; with a Redis, once that has the request on disk. How little time this takes says what is left to gain.
import { connect, createServer } from 'node:net'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: { socket: { type: 'string' }, redis: { type: 'string' }, bytes: { type: 'string', default: '0' } },
})

const frame = { data: 0, headers: 1, settings: 4, windowUpdate: 8 } as const
const flag = { endStream: 1, endHeaders: 4 } as const
const headLength = 9

function frameOf(type: number, flags: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(headLength)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  return Buffer.concat([head, payload])
}

const text = (value: string) => [value.length, ...Buffer.from(value)]
const length = Number(values.bytes)
const message = Buffer.alloc(5 + length)
message.writeUInt32BE(length, 1)
// HPACK, RFC 7541: `:status: 200` is entry 8 of the static table, `content-type` is the name of entry 31.
const headers = frameOf(frame.headers, flag.endHeaders, Buffer.from([0x88, 0x0f, 0x10, ...text('application/grpc')]))
const data = frameOf(frame.data, 0, message)
const trailers = frameOf(
  frame.headers,
  flag.endHeaders | flag.endStream,
  Buffer.from([0x00, ...text('grpc-status'), ...text('0')]),
)
const answer = Buffer.concat([headers, data, trailers])
const streamsAt = [5, headers.length + 5, headers.length + data.length + 5]

function answerTo(stream: number): Buffer {
  const bytes = Buffer.from(answer)
  for (const at of streamsAt) bytes.writeUInt32BE(stream, at)
  return bytes
}

/** Stores requests; those of one turn leave in one write. */
function redisAt(path: string) {
  const socket = connect(path)
  const waiting: (() => void)[] = []
  let out: Buffer[] = []
  let number = 0
  const stored = '+OK\r\n'.length
  let rest = 0
  socket.on('data', (chunk) => {
    for (rest += chunk.length; rest >= stored; rest -= stored) waiting.shift()?.()
  })
  return (request: Buffer, done: () => void) => {
    const key = `k${number++}`
    if (out.length === 0)
      setImmediate(() => {
        socket.write(Buffer.concat(out))
        out = []
      })
    out.push(Buffer.from(`*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${request.length}\r\n`), request, crlf)
    waiting.push(done)
  }
}

const crlf = Buffer.from('\r\n')
const store = values.redis === undefined ? undefined : redisAt(values.redis)

createServer((socket) => {
  let rest: Buffer = Buffer.alloc(0)
  let greeted = false
  let out: Buffer[] = []
  const send = (stream: number) => {
    if (out.length === 0)
      queueMicrotask(() => {
        socket.write(out.length === 1 ? (out[0] as Buffer) : Buffer.concat(out))
        out = []
      })
    out.push(answerTo(stream))
  }
  socket.on('error', () => socket.destroy())
  socket.write(frameOf(frame.settings, 0, Buffer.alloc(0)))
  const window = Buffer.alloc(4)
  window.writeUInt32BE(0x7fff_ffff - 65_535)
  socket.write(frameOf(frame.windowUpdate, 0, window))
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = greeted ? 0 : 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'.length
    greeted = true
    while (bytes.length - at >= headLength) {
      const end = at + headLength + bytes.readUIntBE(at, 3)
      if (bytes.length < end) break
      if (bytes[at + 3] === frame.data && ((bytes[at + 4] ?? 0) & flag.endStream) !== 0) {
        const stream = bytes.readUInt32BE(at + 5)
        if (store === undefined) send(stream)
        else store(bytes.subarray(at + headLength, end), () => send(stream))
      }
      at = end
    }
    rest = bytes.subarray(at)
  })
}).listen(values.socket, () => process.send?.('ready'))
