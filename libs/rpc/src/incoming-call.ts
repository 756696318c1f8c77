import { gunzipSync, inflateSync } from 'node:zlib'
import { internal, type RpcError, resourceExhausted, status, unimplemented } from './errors.ts'
import type { GrpcHeaders } from './grpc-headers.ts'
import { type Field, headerBlock } from './http2/hpack.ts'
import type { Stream, StreamTaker } from './http2/stream.ts'

/** Largest message in either direction, bytes; containerd's own limit. */
export const maxMessageBytes = 16 * 1024 * 1024

/** Flag and length before each message. */
const prefixBytes = 5

const contentType: Field = ['content-type', 'application/grpc']
const openingBlock = headerBlock([[':status', '200'], contentType])
const okBlock = headerBlock([['grpc-status', '0']])

/** Longest time that a timer counts, milliseconds. */
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
  readonly #stream: Stream
  #messages: Buffer[] = []
  #ended: boolean
  #failure: RpcError | undefined
  #prefix: Buffer = Buffer.alloc(0)
  #partial: { readonly bytes: Buffer; length: number; readonly compressed: boolean } | undefined
  #opened = false
  #finished = false
  readonly #timer: NodeJS.Timeout | undefined

  constructor(stream: Stream, headers: GrpcHeaders, ended: boolean) {
    this.#stream = stream
    this.headers = headers
    this.#ended = ended
    stream.taker = this
    const { timeout } = headers
    if (timeout === undefined) return
    this.deadline = Date.now() + timeout
    if (!Number.isNaN(timeout)) this.#timer = setTimeout(() => this.#expire(), Math.min(timeout, longestTimer))
  }

  /** Whether all requests came; those not taken yet are still there. */
  get ended(): boolean {
    return this.#ended
  }

  /** Why no more requests come although the client has not ended them. */
  get failure(): RpcError | undefined {
    return this.#failure
  }

  /** The next request that is there. */
  take(): Buffer | undefined {
    const message = this.#messages.shift()
    if (this.#messages.length === 0) this.#stream.consumed()
    return message
  }

  /** Sends a message; false when the next one should wait until it is drained. */
  write(message: Buffer): boolean {
    if (this.#finished) return true
    this.#open()
    const bytes = Buffer.allocUnsafe(prefixBytes + (message.length < 4096 ? message.length : 0))
    bytes[0] = 0
    bytes.writeUInt32BE(message.length, 1)
    if (bytes.length > prefixBytes) message.copy(bytes, prefixBytes)
    this.#stream.write(bytes)
    if (bytes.length === prefixBytes && message.length > 0) this.#stream.write(message)
    return this.#stream.unsent === 0
  }

  /** Ends the call. */
  finish({ code, message, metadata }: CallEnd): void {
    if (this.#finished) return
    this.#finished = true
    clearTimeout(this.#timer)
    this.#messages = []
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

  data(bytes: Buffer, ended: boolean): void {
    if (this.#finished) return
    if (this.#failure === undefined)
      try {
        this.#read(bytes)
        if (ended && (this.#partial || this.#prefix.length > 0)) throw internal('a message that is cut off')
      } catch (error) {
        this.#failure = error as RpcError
      }
    if (ended) this.#ended = true
    // Only complete messages that wait are held back; a message in the making must go on.
    if (this.#messages.length === 0) this.#stream.consumed()
    if (ended || this.#failure || this.#messages.length > 0) this.taker?.received()
  }

  cut(): void {
    if (this.#finished) return
    this.#finished = true
    clearTimeout(this.#timer)
    this.#messages = []
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

  #expire(): void {
    if (this.#finished) return
    this.finish({ code: status.DEADLINE_EXCEEDED, message: 'context deadline exceeded', metadata: [] })
    this.taker?.cut('late')
  }

  #read(chunk: Buffer): void {
    let bytes = chunk
    while (bytes.length > 0) {
      const partial = this.#partial
      if (partial) {
        const copied = bytes.copy(partial.bytes, partial.length)
        partial.length += copied
        bytes = bytes.subarray(copied)
        if (partial.length < partial.bytes.length) return
        this.#partial = undefined
        this.#push(partial.bytes, partial.compressed)
        continue
      }
      if (this.#prefix.length > 0) {
        bytes = Buffer.concat([this.#prefix, bytes])
        this.#prefix = Buffer.alloc(0)
      }
      if (bytes.length < prefixBytes) {
        this.#prefix = bytes
        return
      }
      const compressed = (bytes[0] ?? 0) !== 0
      const size = bytes.readUInt32BE(1)
      if (size > maxMessageBytes) throw tooLarge(size)
      const end = prefixBytes + size
      if (bytes.length >= end) {
        this.#push(bytes.subarray(prefixBytes, end), compressed)
        bytes = bytes.subarray(end)
        continue
      }
      const whole = Buffer.allocUnsafeSlow(size)
      this.#partial = { bytes: whole, length: bytes.copy(whole, 0, prefixBytes), compressed }
      return
    }
  }

  #push(bytes: Buffer, compressed: boolean): void {
    this.#messages.push(compressed ? decompressed(bytes, this.headers.encoding) : bytes)
  }
}

const tooLarge = (size: number | string) =>
  resourceExhausted(`grpc: received message larger than max (${size} vs. ${maxMessageBytes})`)

function decompressed(bytes: Buffer, encoding: string): Buffer {
  const decompress = encoding === 'gzip' ? gunzipSync : encoding === 'deflate' ? inflateSync : undefined
  if (decompress === undefined) throw unimplemented(`message compressed with "${encoding}"`)
  try {
    return decompress(bytes, { maxOutputLength: maxMessageBytes })
  } catch (error) {
    if (error instanceof RangeError) throw tooLarge('more')
    throw internal(`a message that cannot be decompressed: ${error instanceof Error ? error.message : error}`)
  }
}

/** A status message as its header carries it: UTF-8, with all but printable ASCII, and "%", as %XX. */
function escaped(message: string): string {
  if (/^[ -$&-~]*$/.test(message)) return message
  return Buffer.from(message)
    .toString('latin1')
    .replace(/[^ -$&-~]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}
