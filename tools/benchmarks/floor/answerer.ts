// The least that a server in Node can be: answers every call on a unix socket with the same bytes, without looking at what
// was asked; with a Redis, once that has the request on disk. How little time this takes says what is left to gain.
import { connect, createServer } from 'node:net'
import { parseArgs } from 'node:util'
import {
  firstWindow,
  flag,
  frame,
  frameOf,
  largestWindow,
  preface,
  readFrames,
  windowUpdate,
  writeStream,
} from '../load/frames.ts'

const { values } = parseArgs({
  options: { socket: { type: 'string' }, redis: { type: 'string' }, bytes: { type: 'string', default: '0' } },
})

const text = (value: string) => [value.length, ...Buffer.from(value)]
const length = Number(values.bytes)
const message = Buffer.alloc(5 + length)
message.writeUInt32BE(length, 1)
// HPACK, RFC 7541: `:status: 200` is entry 8 of the static table, `content-type` is the name of entry 31.
const headers = frameOf(frame.headers, flag.endHeaders, 0, Buffer.from([0x88, 0x0f, 0x10, ...text('application/grpc')]))
const data = frameOf(frame.data, 0, 0, message)
const trailers = frameOf(
  frame.headers,
  flag.endHeaders | flag.endStream,
  0,
  Buffer.from([0x00, ...text('grpc-status'), ...text('0')]),
)
const answer = Buffer.concat([headers, data, trailers])
const framesAt = [0, headers.length, headers.length + data.length]

function answerTo(stream: number): Buffer {
  const bytes = Buffer.from(answer)
  for (const at of framesAt) writeStream(bytes, at, stream)
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
  let out: Buffer[] = []
  const send = (stream: number) => {
    if (out.length === 0)
      queueMicrotask(() => {
        socket.write(Buffer.concat(out))
        out = []
      })
    out.push(answerTo(stream))
  }
  socket.on('error', () => socket.destroy())
  socket.write(frameOf(frame.settings, 0, 0, Buffer.alloc(0)))
  socket.write(windowUpdate(largestWindow - firstWindow))
  const take = (type: number, flags: number, stream: number, payload: Buffer) => {
    if (type !== frame.data || !(flags & flag.endStream)) return
    if (store === undefined) send(stream)
    else store(payload, () => send(stream))
  }
  readFrames(socket, take, preface.length)
}).listen(values.socket, () => process.send?.('ready'))
