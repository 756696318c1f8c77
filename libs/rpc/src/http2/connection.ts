import type { Socket } from 'node:net'
import { freeMemory } from '../free-memory.ts'
import { Allowance } from './allowance.ts'
import {
  ConnectionError,
  errorCode,
  FrameReader,
  type FrameTaker,
  flag,
  frame,
  frameBytes,
  frameOf,
  headBytes,
  numberFrame,
  unpadded,
  writeHead,
} from './frames.ts'
import { type Field, HeaderDecoder, maxListBytes, tableSizeZero } from './hpack.ts'
import { Outbox } from './outbox.ts'
import { WindowPool } from './receive-window.ts'
import { Stream } from './stream.ts'

const defaultWindow = 65_535
const largestWindow = 0x7fff_ffff
/** Bytes received of all streams after which the connection's window is opened again. What streams hold has its own bounds. */
const refill = 256 * 1024 * 1024
/** Streams of one connection at a time; a client waits with more. */
export const maxStreams = 10_000
/** Streams that one connection begins in one turn of the event loop, so that others get theirs. */
const streamsOfTurn = 128
/** Bytes that a stream sends at once, so that the others of its connection get their turn. */
const framesOfTurn = 512 * 1024
/** Largest header block, packed. */
const maxBlockBytes = 64 * 1024
/** Milliseconds for a client to begin. */
const greetingLimit = 20_000
/** Milliseconds for a client to close its side once the last bytes are out, and for those to get out after a breach. */
const lingerLimit = 500
const lastWordsLimit = 10_000

const nothing: Buffer = Buffer.alloc(0)

const setting = { tableSize: 1, push: 2, maxStreams: 3, initialWindow: 4, maxFrame: 5, maxList: 6 } as const

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
  readonly #pool = new WindowPool()
  readonly #out: Outbox
  /** Streams that have data to send and a window for it, in turn. */
  readonly #waiting = new Set<Stream>()
  /** Each change of settings may concern every stream. */
  readonly #settingsAllowed = new Allowance(100, 10)
  /** Streams may be given up, but not begun only for that. */
  readonly #resetsAllowed = new Allowance(maxStreams, 1_000)
  /** Bytes of answers that wait for their client's windows. */
  unsent = 0
  /** The last stream that was taken, and the last that the client began. */
  #lastStream = 0
  #lastBegun = 0
  #sendWindow = defaultWindow
  #initialWindow = defaultWindow
  #maxFrame = frameBytes
  #received = 0
  #tableShrunk = false
  #block: { readonly stream: number; readonly flags: number; readonly parts: Buffer[]; size: number } | undefined
  readonly #timers: NodeJS.Timeout[] = []
  #greeted = false
  #alive = true
  /** Streams begun in this turn. */
  #begun = 0
  #goingAway = false
  readonly #closed = Promise.withResolvers<void>()
  #over = false

  /** @param onStream must not throw */
  constructor(socket: Socket, onStream: OnStream) {
    this.#socket = socket
    this.#onStream = onStream
    this.#out = new Outbox(
      socket,
      () => this.#sendWaiting(),
      () => this.#readOn(),
    )
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      this.#end()
      for (const timer of this.#timers) clearTimeout(timer)
      this.#closed.resolve()
    })
    this.#after(greetingLimit, () => {
      if (!this.#greeted) socket.destroy()
    })
    const settings = Buffer.alloc(12)
    for (const [at, [id, value]] of [
      [setting.maxStreams, maxStreams] as const,
      [setting.maxList, maxListBytes] as const,
    ].entries()) {
      settings.writeUInt16BE(id, 6 * at)
      settings.writeUInt32BE(value, 6 * at + 2)
    }
    this.send(frameOf(frame.settings, 0, 0, settings))
    this.send(numberFrame(frame.windowUpdate, 0, largestWindow - defaultWindow))
  }

  get resting(): boolean {
    return this.#begun >= streamsOfTurn
  }

  get socket(): Socket {
    return this.#socket
  }

  /** Takes no more streams; resolves when those there are have ended and the socket is closed. */
  close(): Promise<void> {
    if (!this.#goingAway) {
      this.#goingAway = true
      this.#sayGoodbye(errorCode.none)
      this.#closeIfDone()
    }
    return this.#closed.promise
  }

  /**
   * Hangs up when the client is silent for so long (milliseconds) and then, for as long again, does not answer a ping:
   * its machine may be gone without a word.
   */
  probe(silence: number): void {
    let asked = false
    const timer = setInterval(() => {
      if (this.#alive) asked = false
      else if (asked) this.#socket.destroy()
      else {
        asked = true
        this.send(frameOf(frame.ping, 0, 0, Buffer.alloc(8)))
      }
      this.#alive = false
    }, silence)
    this.#timers.push(timer.unref())
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /**
   * Sends bytes of frames at the end of this turn of the event loop.
   * @param out told when the kernel has them
   */
  send(bytes: Buffer, out?: () => void): void {
    this.#out.send(bytes, out)
  }

  /** Sends a header block, in as many frames as it takes. */
  sendHeaders(stream: Stream, fields: Buffer, last: boolean): void {
    const block = this.#tableShrunk ? Buffer.concat([tableSizeZero, fields]) : fields
    this.#tableShrunk = false
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
    while (stream.unsent > 0 && stream.sendWindow > 0 && this.#sendWindow > 0 && !this.#out.full) {
      const most = Math.min(stream.sendWindow, this.#sendWindow)
      const length = stream.sendFrames(Math.min(most, framesOfTurn)) || this.#sendFrame(stream, most)
      stream.sendWindow -= length
      this.#sendWindow -= length
    }
    // One whose own window is closed hears from its client when it is opened.
    if (stream.unsent > 0 && stream.sendWindow > 0) this.#waiting.add(stream)
    else this.#waiting.delete(stream)
  }

  #sendFrame(stream: Stream, most: number): number {
    const length = Math.min(most, this.#maxFrame, stream.unsentOfFrame)
    const head = Buffer.allocUnsafe(headBytes)
    writeHead(head, 0, length, frame.data, 0, stream.id)
    this.send(head)
    stream.sendPieces(length)
    return length
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
    this.#receive(id, piece, piece.length, last && (flags & flag.endStream) !== 0)
  }

  whole(type: number, flags: number, id: number, payload: Buffer): void {
    if (type === frame.continuation) {
      this.#continueBlock(flags, id, payload)
      return
    }
    this.#requireNoBlock()
    if (type === frame.headers) this.#beginBlock(flags, id, payload)
    else if (type === frame.data)
      this.#receive(id, unpadded(payload, flags), payload.length, (flags & flag.endStream) !== 0)
    else if (type === frame.settings) this.#settings(flags, id, payload)
    else if (type === frame.windowUpdate) this.#windowUpdate(id, payload)
    else if (type === frame.ping) this.#ping(flags, id, payload)
    else if (type === frame.reset) this.#resetByClient(id, payload)
    else if (type === frame.pushPromise) throw new ConnectionError(errorCode.protocol, 'a promise of a client')
    else if (type === frame.goAway && id !== 0) throw new ConnectionError(errorCode.protocol, 'a good-bye of a stream')
    // Of a client's good-bye there is nothing to do: it ends its streams or the connection itself. Priorities and frames
    // of a type we do not know mean nothing here.
  }

  #after(milliseconds: number, act: () => void): void {
    this.#timers.push(setTimeout(act, milliseconds).unref())
  }

  #take(chunk: Buffer): void {
    if (chunk !== nothing) this.#alive = true
    if (this.#over) return
    try {
      this.#reader.read(chunk)
      freeMemory(chunk)
    } catch (error) {
      this.#sayGoodbye(error instanceof ConnectionError ? error.code : errorCode.internal)
      this.#out.flush()
      this.#end()
      this.#hangUp()
    }
  }

  #readOn(): void {
    if (this.#over || this.resting || this.#out.choked) return
    this.#socket.resume()
    this.#take(nothing)
  }

  /** Counts a stream that is begun in this turn; when there are enough, the rest of what came waits for the next one. */
  #countBegun(): void {
    this.#begun++
    if (this.#begun === 1) setImmediate(this.#nextTurn)
    if (this.resting) this.#socket.pause()
  }

  readonly #nextTurn = () => {
    const rested = this.resting
    this.#begun = 0
    if (rested) this.#readOn()
  }

  #receive(id: number, bytes: Buffer, size: number, ended: boolean): void {
    this.#received += size
    if (this.#received >= refill) {
      this.send(numberFrame(frame.windowUpdate, 0, this.#received))
      this.#received = 0
    }
    this.#known(id)?.receive(bytes, size, ended)
  }

  #resetByClient(id: number, payload: Buffer): void {
    requireSize(payload, 4)
    const stream = this.#known(id)
    if (stream === undefined) return
    if (!this.#resetsAllowed.take()) throw new ConnectionError(errorCode.enhanceYourCalm, 'too many resets')
    stream.cut()
  }

  #sayGoodbye(code: number): void {
    const payload = Buffer.alloc(8)
    payload.writeUInt32BE(this.#lastStream)
    payload.writeUInt32BE(code, 4)
    this.send(frameOf(frame.goAway, 0, 0, payload))
  }

  #closeIfDone(): void {
    if (!this.#goingAway || this.#streams.size > 0 || this.#over) return
    this.#out.flush()
    this.#end()
    this.#hangUp()
  }

  /** Closes the socket once all is out. With bytes of the client unread, that would take back what it has not read yet. */
  #hangUp(): void {
    this.#socket.resume()
    this.#socket.end(() => this.#after(lingerLimit, () => this.#socket.destroy()))
    this.#after(lastWordsLimit, () => this.#socket.destroy())
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    this.#out.close()
    for (const stream of [...this.#streams.values()]) stream.cut()
  }

  #sendWaiting(): void {
    // Each in turn, so that one that has much does not keep the others from sending.
    for (const stream of [...this.#waiting]) {
      if (this.#out.full || this.#sendWindow <= 0) return
      this.#waiting.delete(stream)
      stream.sendMore()
    }
  }

  /** The stream of a frame; undefined for one that has ended. */
  #known(id: number): Stream | undefined {
    const stream = this.#streams.get(id)
    if (stream === undefined && (id === 0 || id > this.#lastBegun || id % 2 === 0))
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
    const whole = (flags & flag.endHeaders) !== 0
    this.#block = { stream: id, flags, parts: [whole ? part : Buffer.from(part)], size: part.length }
    if (whole) this.#finishBlock()
  }

  #continueBlock(flags: number, id: number, payload: Buffer): void {
    const block = this.#block
    if (block?.stream !== id) throw new ConnectionError(errorCode.protocol, 'a continuation of nothing')
    block.parts.push(Buffer.from(payload))
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
    const fields = this.#decoded(block.parts.length === 1 ? (block.parts[0] as Buffer) : Buffer.concat(block.parts))
    const ended = (block.flags & flag.endStream) !== 0
    if (block.stream <= this.#lastBegun) {
      // Trailers, of which gRPC has none from a client.
      const stream = this.#known(block.stream)
      if (ended) stream?.receive(Buffer.alloc(0), 0, true)
      else stream?.breach(errorCode.protocol)
      return
    }
    this.#lastBegun = block.stream
    this.#countBegun()
    if (this.#goingAway || this.#streams.size >= maxStreams) {
      // The client knows that nothing was done and may try elsewhere.
      this.reset(block.stream, errorCode.refusedStream)
      return
    }
    this.#lastStream = block.stream
    if (fields === undefined) {
      this.reset(block.stream, errorCode.enhanceYourCalm)
      return
    }
    const stream = new Stream(this, this.#pool, block.stream, this.#initialWindow, ended)
    this.#streams.set(stream.id, stream)
    this.#onStream(stream, fields, ended)
  }

  /** Undefined for more fields than we said that we take. */
  #decoded(block: Buffer): readonly Field[] | undefined {
    try {
      return this.#decoder.decode(block)
    } catch (error) {
      throw new ConnectionError(errorCode.compression, error instanceof Error ? error.message : String(error))
    }
  }

  #settings(flags: number, id: number, payload: Buffer): void {
    if (id !== 0) throw new ConnectionError(errorCode.protocol, 'settings of a stream')
    if ((flags & flag.ack) !== 0) {
      requireSize(payload, 0)
      return
    }
    if (payload.length % 6 !== 0) throw new ConnectionError(errorCode.frameSize, 'settings cut off')
    if (!this.#settingsAllowed.take()) throw new ConnectionError(errorCode.enhanceYourCalm, 'too many settings')
    this.#greeted = true
    let window = this.#initialWindow
    for (let at = 0; at < payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2)
      const kind = payload.readUInt16BE(at)
      if (kind === setting.initialWindow) {
        if (value > largestWindow) throw new ConnectionError(errorCode.flowControl, `a window of ${value} bytes`)
        window = value
      } else if (kind === setting.maxFrame) {
        if (value < frameBytes || value > 0xff_ffff)
          throw new ConnectionError(errorCode.protocol, `frames of ${value} bytes`)
        this.#maxFrame = value
      } else if (kind === setting.push && value > 1)
        throw new ConnectionError(errorCode.protocol, `${value} for whether to push`)
      // The next header block has to say that the table is smaller, although we put nothing into it.
      else if (kind === setting.tableSize && value < 4096) this.#tableShrunk = true
    }
    this.send(frameOf(frame.settings, flag.ack, 0, Buffer.alloc(0)))
    if (window !== this.#initialWindow) this.#changeWindows(window)
  }

  /** Changes the windows of all streams by as much as their beginning was changed. */
  #changeWindows(window: number): void {
    const streams = [...this.#streams.values()]
    for (const stream of streams) {
      stream.sendWindow += window - this.#initialWindow
      if (stream.sendWindow > largestWindow)
        throw new ConnectionError(errorCode.flowControl, 'a window that is too large')
    }
    this.#initialWindow = window
    for (const stream of streams) stream.sendMore()
  }

  #windowUpdate(id: number, payload: Buffer): void {
    requireSize(payload, 4)
    const more = payload.readUInt32BE() & largestWindow
    if (id === 0) {
      if (more === 0) throw new ConnectionError(errorCode.protocol, 'a window opened by nothing')
      this.#sendWindow += more
      if (this.#sendWindow > largestWindow)
        throw new ConnectionError(errorCode.flowControl, 'a window that is too large')
      this.#sendWaiting()
      return
    }
    const stream = this.#known(id)
    if (stream === undefined) return
    stream.sendWindow += more
    if (more === 0) stream.breach(errorCode.protocol)
    else if (stream.sendWindow > largestWindow) stream.breach(errorCode.flowControl)
    else stream.sendMore()
  }

  #ping(flags: number, id: number, payload: Buffer): void {
    if (id !== 0) throw new ConnectionError(errorCode.protocol, 'a ping of a stream')
    requireSize(payload, 8)
    if ((flags & flag.ack) === 0) this.#out.sendSoon(frameOf(frame.ping, flag.ack, 0, payload))
  }
}

function requireSize(payload: Buffer, size: number): void {
  if (payload.length !== size) throw new ConnectionError(errorCode.frameSize, `${payload.length} bytes for ${size}`)
}
