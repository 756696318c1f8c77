import { internal, type RpcError, resourceExhausted, status, toRpcError } from './errors.ts'
import type { GrpcHeaders } from './grpc-headers.ts'
import { FramedBytes } from './http2/framed-bytes.ts'
import { errorCode } from './http2/frames.ts'
import { type Field, headerBlock } from './http2/hpack.ts'
import type { Stream, StreamTaker } from './http2/stream.ts'
import { MessageReader, prefixBytes } from './message-reader.ts'

/** Answers, in bytes, that may wait for the windows of one connection; those of a call beyond it are not sent. */
const maxUnsentBytes = 256 * 1024 * 1024

const contentType: Field = ['content-type', 'application/grpc']
const openingBlock = headerBlock([[':status', '200'], contentType])
const okBlock = headerBlock([['grpc-status', '0']])

/** Longest time that a timer counts, milliseconds: 24 days. A call that may take longer has no timer. */
const longestTimer = 0x7fff_ffff

/** How a call ended, for its client. */
export interface CallEnd {
  readonly code: number
  readonly message: string
  /** What goes with it. */
  readonly metadata: readonly Field[]
}

/** What a call's owner is told. */
export interface CallTaker {
  /** A message came, or the last one has. */
  received(): void
  /** Nobody waits for the answer any more: the client left or its time is over. */
  cut(reason: 'left' | 'late'): void
  /** Data that had to wait is out. */
  drained(): void
}

/** One gRPC call as it comes over an HTTP/2 stream: messages in, messages out, a status. */
export class IncomingCall implements StreamTaker {
  readonly headers: GrpcHeaders
  /** Milliseconds since the epoch. */
  readonly deadline: number | undefined
  taker: CallTaker | undefined
  /** Whether a request's memory is used again when the next one is taken. */
  reusesMemory = false
  readonly #stream: Stream
  readonly #reader: MessageReader
  /** Bytes of the request that was taken last. */
  #taken = 0
  #ended: boolean
  #failure: RpcError | undefined
  #opened = false
  #finished = false
  readonly #timer: NodeJS.Timeout | undefined

  constructor(stream: Stream, headers: GrpcHeaders, ended: boolean) {
    this.#stream = stream
    this.headers = headers
    this.#ended = ended
    this.#reader = new MessageReader(headers.encoding, stream)
    stream.taker = this
    const { timeout } = headers
    if (timeout === undefined) return
    this.deadline = Date.now() + timeout
    if (timeout <= longestTimer) this.#timer = setTimeout(() => this.#expire(), timeout)
  }

  /** Whether all requests came; those not taken yet are still there. */
  get ended(): boolean {
    return this.#ended
  }

  /** Why no more requests come although the client has not ended them. */
  get failure(): RpcError | undefined {
    return this.#failure
  }

  /** Whether bytes came behind the next request. */
  get more(): boolean {
    return this.#reader.more
  }

  /** The next request that is there. */
  take(): Buffer | undefined {
    if (this.#failure || this.#finished) return undefined
    try {
      // Who asks for the next one is done with the one before, which counts until then.
      const done = this.#taken
      this.#taken = 0
      if (done > 0) this.#stream.consumed(done)
      if (done > 0 && this.reusesMemory) this.#reader.reuse()
      const taken = this.#reader.take()
      if (taken) this.#taken = taken.size
      else if (this.#ended && !this.#reader.empty) throw internal('a message that is cut off')
      return taken?.message
    } catch (error) {
      this.#failure = toRpcError(error)
      return undefined
    }
  }

  /**
   * Sends a message; false when the next one should wait until it is drained. RESOURCE_EXHAUSTED when too much waits for
   * a client that does not take what it asked for.
   */
  write(message: Buffer | readonly Buffer[] | FramedBytes): boolean {
    if (this.#finished) return true
    const size = message instanceof FramedBytes ? message.left : bytesIn(message)
    if (this.#stream.connection.unsent + size > maxUnsentBytes)
      throw resourceExhausted(`more than ${maxUnsentBytes} bytes of answers wait for their client to take them`)
    this.#open()
    if (message instanceof FramedBytes) this.#stream.write(message)
    else if (Buffer.isBuffer(message)) this.#stream.write(prefixOf(size), message)
    else this.#stream.write(prefixOf(size), ...message)
    return this.#stream.unsent === 0
  }

  /** Ends the call. */
  finish({ code, message, metadata }: CallEnd): void {
    if (this.#finished) return
    this.#finished = true
    clearTimeout(this.#timer)
    if (code === status.OK && metadata.length === 0) {
      this.#open()
      this.#stream.end(okBlock)
      return
    }
    const fields: Field[] = [['grpc-status', String(code)]]
    if (message !== '') fields.push(['grpc-message', escaped(message)])
    fields.push(...metadata)
    if (!this.#opened) fields.unshift([':status', '200'], contentType)
    this.#stream.end(headerBlock(fields))
  }

  /** Answers with a plain HTTP status: this was no gRPC. */
  refuse(httpStatus: number): void {
    this.#finished = true
    clearTimeout(this.#timer)
    this.#stream.end(headerBlock([[':status', String(httpStatus)]]))
  }

  /** Does as if the call had never come: its client may make it again. */
  turnAway(): void {
    this.#leave(errorCode.refusedStream)
  }

  /** Ends a call whose headers are against the protocol. */
  breach(): void {
    this.#leave(errorCode.protocol)
  }

  data(bytes: Buffer, ended: boolean): void {
    if (this.#finished) return
    if (ended) this.#ended = true
    if (this.#failure === undefined)
      try {
        this.#reader.push(bytes)
        if (ended && !this.#reader.ready && !this.#reader.empty) throw internal('a message that is cut off')
      } catch (error) {
        this.#failure = toRpcError(error)
      }
    if (ended || this.#failure || this.#reader.ready) this.taker?.received()
  }

  cut(): void {
    if (this.#finished) return
    this.#finished = true
    clearTimeout(this.#timer)
    this.taker?.cut('left')
  }

  drained(): void {
    this.taker?.drained()
  }

  #open(): void {
    if (this.#opened) return
    this.#opened = true
    this.#stream.headers(openingBlock)
  }

  #leave(code: number): void {
    this.#finished = true
    clearTimeout(this.#timer)
    this.#stream.reset(code)
  }

  #expire(): void {
    if (this.#finished) return
    // A client that has not taken what it was sent before will not take more now.
    if (this.#stream.unsent > 0) this.#leave(errorCode.cancel)
    else this.finish({ code: status.DEADLINE_EXCEEDED, message: 'context deadline exceeded', metadata: [] })
    this.taker?.cut('late')
  }
}

/** A status message as its header carries it: UTF-8, with all but printable ASCII, and "%", as %XX. */
function escaped(message: string): string {
  if (/^[ -$&-~]*$/.test(message)) return message
  return Buffer.from(message)
    .toString('latin1')
    .replace(/[^ -$&-~]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}

function prefixOf(size: number): Buffer {
  const prefix = Buffer.allocUnsafe(prefixBytes)
  prefix[0] = 0
  prefix.writeUInt32BE(size, 1)
  return prefix
}

/** Bytes of a message in one piece or several. */
export function bytesIn(message: Buffer | readonly Buffer[]): number {
  return Buffer.isBuffer(message) ? message.length : message.reduce((sum, piece) => sum + piece.length, 0)
}
