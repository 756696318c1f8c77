import { connect } from 'node:net'
import { firstWindow, flag, frame, frameOf, largestWindow, preface, readFrames, windowUpdate } from './frames.ts'

/**
 * A gRPC client that costs next to nothing, so that what is measured is the server: one HTTP/2 connection over a unix
 * socket, headers packed once, answers counted and not decoded. An answer without a message is an error.
 */
export interface UnaryConnection extends Disposable {
  /**
   * Sends one message and gives the bytes of the answers (a server's stream may have many) when the call has ended.
   * @param take told of the bytes as they come, messages with their heads of five bytes, cut anywhere
   */
  call(message: Uint8Array, take?: (bytes: Buffer) => void): Promise<number>
}

interface Running {
  bytes: number
  readonly take: ((bytes: Buffer) => void) | undefined
  readonly resolve: (bytes: number) => void
  readonly reject: (error: Error) => void
}

/** Bytes received after which the connection's window is opened again. */
const refill = 256 * 1024 * 1024

/** @param path `/SERVICE/METHOD` */
export async function unaryConnection(address: string, path: string, namespace: string): Promise<UnaryConnection> {
  const socket = connect(address)
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  const settings = Buffer.alloc(6)
  settings.writeUInt16BE(4, 0)
  settings.writeUInt32BE(largestWindow, 2)
  socket.write(preface)
  socket.write(frameOf(frame.settings, 0, 0, settings))
  socket.write(windowUpdate(largestWindow - firstWindow))

  const running = new Map<number, Running>()
  let nextStream = 1
  let received = 0
  const fail = (error: Error) => {
    for (const { reject } of running.values()) reject(error)
    running.clear()
  }
  socket.on('error', fail)
  socket.on('close', () => fail(new Error(`${path}: the connection was closed`)))
  readFrames(socket, (type, flags, stream, payload) => {
    const call = running.get(stream)
    if (type === frame.data) {
      received += payload.length
      if (received >= refill) {
        socket.write(windowUpdate(received))
        received = 0
      }
      if (call) {
        call.bytes += payload.length
        call.take?.(payload)
      }
    } else if (type === frame.settings && !(flags & flag.ack)) {
      socket.write(frameOf(frame.settings, flag.ack, 0, Buffer.alloc(0)))
    } else if (type === frame.ping && !(flags & flag.ack)) {
      socket.write(frameOf(frame.ping, flag.ack, 0, payload))
    } else if (type === frame.goAway) {
      fail(new Error(`${path}: the server said goodbye`))
    } else if (type === frame.reset) {
      call?.reject(new Error(`${path}: the server reset the call`))
      running.delete(stream)
    }
    if (call && flags & flag.endStream && (type === frame.headers || type === frame.data)) {
      running.delete(stream)
      if (call.bytes === 0) call.reject(new Error(`${path} was refused: ${printable(payload)}`))
      else call.resolve(call.bytes)
    }
  })

  return {
    call(message, take) {
      const stream = nextStream
      nextStream += 2
      const { promise, resolve, reject } = Promise.withResolvers<number>()
      running.set(stream, { bytes: 0, take, resolve, reject })
      const headers = stream === 1 ? firstHeaders(path, namespace) : laterHeaders
      const body = Buffer.alloc(5 + message.length)
      body.writeUInt32BE(message.length, 1)
      body.set(message, 5)
      socket.write(
        Buffer.concat([
          frameOf(frame.headers, flag.endHeaders, stream, headers),
          frameOf(frame.data, flag.endStream, stream, body),
        ]),
      )
      return promise
    },
    [Symbol.dispose]() {
      socket.destroy()
    },
  }
}

// HPACK, RFC 7541: the first request puts its headers into the connection's table, the later ones point there.
const postOverHttp = [0x83, 0x86]
const [pathName, authorityName, contentTypeName, userAgentName] = [0x44, 0x41, 0x5f, 0x7a]
const laterHeaders = Buffer.from([...postOverHttp, 0xc3, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe])

function firstHeaders(path: string, namespace: string): Buffer {
  const text = (value: string) => [value.length, ...Buffer.from(value)]
  const named = (name: string, value: string) => [0x40, ...text(name), ...text(value)]
  return Buffer.from([
    ...postOverHttp,
    pathName,
    ...text(path),
    authorityName,
    ...text('localhost'),
    contentTypeName,
    ...text('application/grpc'),
    userAgentName,
    ...text('flotilla-bench'),
    ...named('te', 'trailers'),
    ...named('containerd-namespace', namespace),
  ])
}

const printable = (bytes: Buffer) => bytes.toString('latin1').replace(/[^ -~]+/g, ' ')
