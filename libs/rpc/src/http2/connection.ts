import type { Socket } from 'node:net'
import {
  ConnectionError,
  errorCode,
  FrameReader,
  type FrameTaker,
  flag,
  frame,
  frameOf,
  numberFrame,
  unpadded,
  writeHead,
} from './frames.ts'
import { type Field, HeaderDecoder } from './hpack.ts'
import { Stream } from './stream.ts'

/** What both sides may send in one frame: the protocol's default, which we do not change. */
const frameBytes = 16 * 1024
const defaultWindow = 65_535
const largestWindow = 0x7fff_ffff
/** Bytes that a client may send of a stream before they were read. */
export const streamWindow = 4 * 1024 * 1024
/** Bytes received of all streams after which the connection's window is opened again. */
const refill = 256 * 1024 * 1024
/** Bytes that go out before the turn of the event loop ends. */
const flushBytes = 256 * 1024
const maxStreams = 10_000
/** Largest header block, packed. */
const maxBlockBytes = 64 * 1024

const setting = { maxStreams: 3, initialWindow: 4, maxFrame: 5 } as const

/** Told of a new stream: its headers, and whether the client has said all with them. */
export type OnStream = (stream: Stream, fields: readonly Field[], ended: boolean) => void

/**
 * The server's side of one HTTP/2 connection, as gRPC needs it. Frames of one turn of the event loop leave in one write.
 * What a client may breach is checked; a breach ends the stream or the connection.
 */
export class Connection implements FrameTaker {
  readonly #socket: Socket
  readonly #onStream: OnStream
  readonly #reader = new FrameReader(this, frameBytes)
  readonly #decoder = new HeaderDecoder()
  readonly #streams = new Map<number, Stream>()
  /** Streams that have data to send, in turn. */
  readonly #waiting = new Set<Stream>()
  #lastStream = 0
  #sendWindow = defaultWindow
  #initialWindow = defaultWindow
  #maxFrame = frameBytes
  #received = 0
  #block: { readonly stream: number; readonly flags: number; readonly parts: Buffer[]; size: number } | undefined
  #out: Buffer[] = []
  #outBytes = 0
  #scheduled = false
  /** Whether the socket takes no more for now. */
  #full = false
  #goingAway: (() => void) | undefined
  #over = false

  /** @param onStream must not throw */
  constructor(socket: Socket, onStream: OnStream) {
    this.#socket = socket
    this.#onStream = onStream
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('drain', () => {
      this.#full = false
      this.#sendWaiting()
    })
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#end())
    const settings = Buffer.alloc(12)
    for (const [at, [id, value]] of [
      [setting.maxStreams, maxStreams] as const,
      [setting.initialWindow, streamWindow] as const,
    ].entries()) {
      settings.writeUInt16BE(id, 6 * at)
      settings.writeUInt32BE(value, 6 * at + 2)
    }
    this.send(frameOf(frame.settings, 0, 0, settings))
    this.send(numberFrame(frame.windowUpdate, 0, largestWindow - defaultWindow))
  }

  get socket(): Socket {
    return this.#socket
  }

  /** Takes no more streams; resolves when those there are have ended and the socket is closed. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#over) return resolve()
      this.#goingAway = resolve
      this.#sayGoodbye(errorCode.none)
      this.#closeIfDone()
    })
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Sends bytes of frames at the end of this turn of the event loop. */
  send(bytes: Buffer): void {
    if (this.#over) return
    this.#out.push(bytes)
    this.#outBytes += bytes.length
    if (this.#outBytes > flushBytes) this.#flush()
    else if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(() => {
        this.#scheduled = false
        this.#flush()
      })
    }
  }

  /** Sends a header block, in as many frames as it takes. */
  sendHeaders(stream: Stream, block: Buffer, last: boolean): void {
    const end = last ? flag.endStream : 0
    if (block.length <= this.#maxFrame) {
      this.send(frameOf(frame.headers, flag.endHeaders | end, stream.id, block))
      return
    }
    for (let at = 0; at < block.length; at += this.#maxFrame) {
      const piece = block.subarray(at, at + this.#maxFrame)
      const flags = (at === 0 ? end : 0) | (at + piece.length === block.length ? flag.endHeaders : 0)
      this.send(frameOf(at === 0 ? frame.headers : frame.continuation, flags, stream.id, piece))
    }
  }

  /** Sends what windows and socket allow of the data that a stream has; the rest follows when they allow more. */
  sendData(stream: Stream): void {
    while (stream.unsent > 0 && stream.sendWindow > 0 && this.#sendWindow > 0 && !this.#full) {
      const length = Math.min(stream.unsent, stream.sendWindow, this.#sendWindow, this.#maxFrame)
      stream.sendWindow -= length
      this.#sendWindow -= length
      const head = Buffer.allocUnsafe(9)
      writeHead(head, 0, length, frame.data, 0, stream.id)
      this.send(head)
      for (let left = length; left > 0; ) {
        const piece = stream.takeUnsent(left)
        left -= piece.length
        this.send(piece)
      }
    }
    if (stream.unsent > 0) this.#waiting.add(stream)
    else this.#waiting.delete(stream)
  }

  /** Says that the client may send so many bytes more of a stream. */
  openWindow(stream: Stream, bytes: number): void {
    this.send(numberFrame(frame.windowUpdate, stream.id, bytes))
  }

  /** Ends a stream at once, if it has not ended. */
  reset(id: number, code: number): void {
    this.send(numberFrame(frame.reset, id, code))
  }

  /** Forgets a stream. */
  drop(stream: Stream): void {
    this.#streams.delete(stream.id)
    this.#waiting.delete(stream)
    this.#closeIfDone()
  }

  data(id: number, piece: Buffer, flags: number, last: boolean): void {
    this.#requireNoBlock()
    this.#received += piece.length
    if (this.#received >= refill) {
      this.send(numberFrame(frame.windowUpdate, 0, this.#received))
      this.#received = 0
    }
    const stream = this.#known(id)
    stream?.receive(piece, piece.length, last && (flags & flag.endStream) !== 0)
  }

  whole(type: number, flags: number, id: number, payload: Buffer): void {
    if (type === frame.continuation) this.#continueBlock(flags, id, payload)
    else {
      this.#requireNoBlock()
      if (type === frame.headers) this.#beginBlock(flags, id, payload)
      else if (type === frame.data) {
        this.#received += payload.length
        const stream = this.#known(id)
        stream?.receive(unpadded(payload, flags), payload.length, (flags & flag.endStream) !== 0)
      } else if (type === frame.settings) this.#settings(flags, id, payload)
      else if (type === frame.windowUpdate) this.#windowUpdate(id, payload)
      else if (type === frame.ping) this.#ping(flags, id, payload)
      else if (type === frame.reset) {
        requireSize(payload, 4)
        this.#known(id)?.cut()
      } else if (type === frame.pushPromise) throw new ConnectionError(errorCode.protocol, 'a promise of a client')
    }
    // Of a client's good-bye there is nothing to do: it ends its streams or the connection itself. Priorities and frames
    // of a type we do not know mean nothing here.
  }

  #take(chunk: Buffer): void {
    if (this.#over) return
    try {
      this.#reader.read(chunk)
    } catch (error) {
      this.#sayGoodbye(error instanceof ConnectionError ? error.code : errorCode.internal)
      this.#flush()
      this.#end()
      this.#socket.destroySoon()
    }
  }

  #sayGoodbye(code: number): void {
    const payload = Buffer.alloc(8)
    payload.writeUInt32BE(this.#lastStream)
    payload.writeUInt32BE(code, 4)
    this.send(frameOf(frame.goAway, 0, 0, payload))
  }

  #closeIfDone(): void {
    if (this.#goingAway === undefined || this.#streams.size > 0) return
    this.#flush()
    // Resolves when the last bytes are out and the client was told; one that never closes its side is not waited for.
    this.#socket.destroySoon()
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    this.#out = []
    for (const stream of [...this.#streams.values()]) stream.cut()
    this.#goingAway?.()
  }

  #flush(): void {
    if (this.#out.length === 0 || this.#over) return
    const out = this.#out
    this.#out = []
    const bytes = this.#outBytes
    this.#outBytes = 0
    // Many small pieces are cheaper copied; large ones as they are.
    if (out.length === 1 || bytes <= frameBytes)
      this.#full = !this.#socket.write(out.length === 1 ? (out[0] as Buffer) : Buffer.concat(out, bytes))
    else {
      this.#socket.cork()
      for (const piece of gathered(out)) this.#full = !this.#socket.write(piece)
      this.#socket.uncork()
    }
  }

  #sendWaiting(): void {
    // Each in turn, so that one that has much does not keep the others from sending.
    for (const stream of [...this.#waiting]) {
      if (this.#full || this.#sendWindow <= 0) return
      this.#waiting.delete(stream)
      stream.sendMore()
    }
  }

  /** The stream of a frame; undefined for one that has ended. */
  #known(id: number): Stream | undefined {
    const stream = this.#streams.get(id)
    if (stream === undefined && (id === 0 || id > this.#lastStream || id % 2 === 0))
      throw new ConnectionError(errorCode.protocol, `a frame of stream ${id}, which was not begun`)
    return stream
  }

  #requireNoBlock(): void {
    if (this.#block) throw new ConnectionError(errorCode.protocol, 'a frame within a header block')
  }

  #beginBlock(flags: number, id: number, payload: Buffer): void {
    if (id % 2 === 0) throw new ConnectionError(errorCode.protocol, `a client's stream ${id}`)
    let part = unpadded(payload, flags)
    if ((flags & flag.priority) !== 0) {
      if (part.length < 5) throw new ConnectionError(errorCode.frameSize, 'headers without their priority')
      part = part.subarray(5)
    }
    this.#block = { stream: id, flags, parts: [part], size: part.length }
    if ((flags & flag.endHeaders) !== 0) this.#finishBlock()
  }

  #continueBlock(flags: number, id: number, payload: Buffer): void {
    const block = this.#block
    if (block?.stream !== id) throw new ConnectionError(errorCode.protocol, 'a continuation of nothing')
    block.parts.push(payload)
    block.size += payload.length
    // Empty pieces cost too.
    if (block.size + block.parts.length > maxBlockBytes)
      throw new ConnectionError(errorCode.protocol, `more than ${maxBlockBytes} bytes of headers`)
    if ((flags & flag.endHeaders) !== 0) this.#finishBlock()
  }

  #finishBlock(): void {
    const block = this.#block
    if (block === undefined) return
    this.#block = undefined
    let fields: readonly Field[]
    try {
      fields = this.#decoder.decode(block.parts.length === 1 ? (block.parts[0] as Buffer) : Buffer.concat(block.parts))
    } catch (error) {
      throw new ConnectionError(errorCode.compression, error instanceof Error ? error.message : String(error))
    }
    const ended = (block.flags & flag.endStream) !== 0
    if (block.stream <= this.#lastStream) {
      // Trailers, of which gRPC has none from a client.
      const stream = this.#known(block.stream)
      if (stream && !ended) throw new ConnectionError(errorCode.protocol, 'headers twice')
      stream?.receive(Buffer.alloc(0), 0, true)
      return
    }
    if (this.#goingAway || this.#streams.size >= maxStreams) {
      // The client knows that nothing was done and may try elsewhere.
      if (!this.#goingAway) this.#lastStream = block.stream
      this.reset(block.stream, errorCode.refusedStream)
      return
    }
    this.#lastStream = block.stream
    const stream = new Stream(this, block.stream, this.#initialWindow, ended)
    this.#streams.set(stream.id, stream)
    this.#onStream(stream, fields, ended)
  }

  #settings(flags: number, id: number, payload: Buffer): void {
    if (id !== 0) throw new ConnectionError(errorCode.protocol, 'settings of a stream')
    if ((flags & flag.ack) !== 0) return
    if (payload.length % 6 !== 0) throw new ConnectionError(errorCode.frameSize, 'settings cut off')
    for (let at = 0; at < payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2)
      const kind = payload.readUInt16BE(at)
      if (kind === setting.initialWindow) {
        if (value > largestWindow) throw new ConnectionError(errorCode.flowControl, `a window of ${value} bytes`)
        for (const stream of this.#streams.values()) stream.sendWindow += value - this.#initialWindow
        this.#initialWindow = value
      } else if (kind === setting.maxFrame) {
        if (value < frameBytes || value > 0xff_ffff)
          throw new ConnectionError(errorCode.protocol, `frames of ${value} bytes`)
        this.#maxFrame = value
      }
    }
    this.send(frameOf(frame.settings, flag.ack, 0, Buffer.alloc(0)))
    this.#sendWaiting()
  }

  #windowUpdate(id: number, payload: Buffer): void {
    requireSize(payload, 4)
    const more = payload.readUInt32BE() & largestWindow
    if (id === 0) {
      this.#sendWindow += more
      if (more === 0 || this.#sendWindow > largestWindow)
        throw new ConnectionError(errorCode.flowControl, 'a window that is too large')
      this.#sendWaiting()
      return
    }
    const stream = this.#known(id)
    if (stream === undefined) return
    stream.sendWindow += more
    if (more === 0 || stream.sendWindow > largestWindow) {
      this.reset(id, errorCode.flowControl)
      stream.cut()
    } else stream.sendMore()
  }

  #ping(flags: number, id: number, payload: Buffer): void {
    if (id !== 0) throw new ConnectionError(errorCode.protocol, 'a ping of a stream')
    requireSize(payload, 8)
    if ((flags & flag.ack) === 0) this.send(frameOf(frame.ping, flag.ack, 0, payload))
  }
}

function requireSize(payload: Buffer, size: number): void {
  if (payload.length !== size) throw new ConnectionError(errorCode.frameSize, `${payload.length} bytes for ${size}`)
}

/** Pieces in which neighbours that are small are one. */
function* gathered(pieces: readonly Buffer[]): Generator<Buffer> {
  let small: Buffer[] = []
  for (const piece of pieces) {
    if (piece.length < 4096) {
      small.push(piece)
      continue
    }
    if (small.length > 0) yield Buffer.concat(small)
    small = []
    yield piece
  }
  if (small.length > 0) yield Buffer.concat(small)
}
