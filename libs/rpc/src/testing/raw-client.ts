import { connect, type NetConnectOpts, type Socket } from 'node:net'

// A client that sends whatever a test wants, in frames or not.

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

export const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** What every client begins with. */
export const greeting = Buffer.concat([preface, frame(4, 0, 0)])

const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)])

/** A header field that goes into no table. */
export const field = (name: string, value: string) => Buffer.concat([Buffer.from([0]), text(name), text(value)])

/** The header block of a call. */
export const requestBlock = (method: string) =>
  Buffer.concat([
    Buffer.from([0x83, 0x86, 0x04]),
    text(`/containerd.services.content.v1.Content/${method}`),
    Buffer.from([0x0f, 0x10]),
    text('application/grpc'),
  ])

/** A message with its prefix. */
export function message(bytes: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5)
  head[0] = flags
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

export interface Received {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export interface RawClient extends Disposable {
  readonly socket: Socket
  /** All frames that came so far. */
  readonly frames: readonly Received[]
  send(...bytes: Buffer[]): void
  /** The first frame, of those that came and will come, that is as wanted. Rejects when the server hung up before. */
  frame(wanted: (frame: Received) => boolean): Promise<Received>
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>
}

/** Connects and greets. */
export function rawClient(where: NetConnectOpts, greet: Buffer = greeting): RawClient {
  const socket = connect(where)
  const frames: Received[] = []
  const changed = new Set<() => void>()
  let kept: Buffer = Buffer.alloc(0)
  let over = false
  const tell = () => {
    for (const wake of changed) wake()
  }
  socket.on('error', () => {})
  const closed = new Promise<void>((resolve) => {
    socket.on('close', () => {
      over = true
      tell()
      resolve()
    })
  })
  socket.on('data', (chunk: Buffer) => {
    kept = Buffer.concat([kept, chunk])
    let at = 0
    while (kept.length - at >= 9 && kept.length - at >= 9 + kept.readUIntBE(at, 3)) {
      const end = at + 9 + kept.readUIntBE(at, 3)
      const [type, flags] = [kept[at + 3] ?? 0, kept[at + 4] ?? 0]
      frames.push({ type, flags, stream: kept.readUInt32BE(at + 5), payload: Buffer.from(kept.subarray(at + 9, end)) })
      at = end
    }
    kept = kept.subarray(at)
    tell()
  })
  socket.write(greet)
  return {
    socket,
    frames,
    closed,
    send(...bytes) {
      socket.write(Buffer.concat(bytes))
    },
    async frame(wanted) {
      for (let seen = 0; ; ) {
        for (; seen < frames.length; seen++) if (wanted(frames[seen] as Received)) return frames[seen] as Received
        if (over) throw new Error('the server hung up')
        await new Promise<void>((resolve) => {
          const wake = () => {
            changed.delete(wake)
            resolve()
          }
          changed.add(wake)
        })
      }
    },
    [Symbol.dispose]() {
      socket.destroy()
    },
  }
}

/** Frames that tests wait for. */
export const isReset = (stream: number) => (frame: Received) => frame.type === 3 && frame.stream === stream
export const isGoodbye = (frame: Received) => frame.type === 7
export const isEnd = (stream: number) => (frame: Received) =>
  frame.type === 1 && frame.stream === stream && (frame.flags & 1) !== 0
export const codeOf = ({ payload }: Received) => payload.readUInt32BE(payload.length - 4)
/** The status of a call in its last headers, which our server does not pack. */
export const statusOf = ({ payload }: Received) => Number(/grpc-status.(\d+)/s.exec(payload.toString('latin1'))?.[1])
