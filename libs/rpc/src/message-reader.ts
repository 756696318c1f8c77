import { gunzipSync, inflateSync } from 'node:zlib'
import { internal, resourceExhausted, unimplemented } from './errors.ts'
import { inOwnMemory } from './own-memory.ts'

/** Largest message in either direction, bytes; containerd's own limit. */
export const maxMessageBytes = 16 * 1024 * 1024

/** Flag and length before each message. */
export const prefixBytes = 5

/** Where the data comes from. */
export interface MessageSource {
  /** Whether so many bytes more may come for one message. */
  expect(bytes: number): boolean
}

/** Bytes from which on a message's memory is worth using again. */
const worthReusing = 4096

const nothing: Buffer = Buffer.alloc(0)

/** A message as far as it came. */
interface Head {
  readonly bytes: Buffer
  length: number
  readonly compressed: boolean
  /** What `bytes` are a part of, where nothing else is in it. */
  readonly memory?: Buffer
}

/**
 * Cuts the data of a call into messages. A message is made of the bytes, and decompressed, when it is taken and not
 * before: many small or packed ones that wait take no more memory than they took on the wire.
 */
export class MessageReader {
  readonly #encoding: string
  readonly #source: MessageSource
  /** The next message as far as it came. */
  #head: Head | undefined
  /** What came behind it: owned memory, in use from `#start` to `#end`. */
  #rest: Buffer = nothing
  #start = 0
  #end = 0
  /** Memory that a message was in, for the next one. */
  #spare: Buffer = nothing
  /** That of the message taken last. */
  #lent: Buffer | undefined

  /**
   * @param encoding how messages with a set flag are compressed
   */
  constructor(encoding: string, source: MessageSource) {
    this.#encoding = encoding
    this.#source = source
  }

  /** Whether a message is complete. */
  get ready(): boolean {
    return this.#head !== undefined && this.#head.length === this.#head.bytes.length
  }

  /** Whether bytes came behind the next message. */
  get more(): boolean {
    return this.#end > this.#start
  }

  /** Whether it holds nothing, not even a part of a message. */
  get empty(): boolean {
    return this.#head === undefined && !this.more
  }

  /** Takes bytes in, which stay the caller's. Throws an RpcError for a message that is not allowed. */
  push(chunk: Buffer): void {
    let bytes = chunk
    if (this.#head && !this.ready) {
      const copied = bytes.copy(this.#head.bytes, this.#head.length)
      this.#head.length += copied
      bytes = bytes.subarray(copied)
    }
    if (bytes.length === 0) return
    // Most calls are one message in one piece.
    if (this.#head === undefined && !this.more) bytes = bytes.subarray(this.#begin(bytes, false))
    if (bytes.length > 0) this.#keep(bytes)
    if (this.#head === undefined) this.#beginFromRest()
  }

  /** The next message and the bytes that it took; undefined when none is complete. Throws an RpcError. */
  take(): { readonly message: Buffer; readonly size: number } | undefined {
    const head = this.#head
    if (head === undefined || !this.ready) return undefined
    this.#head = undefined
    this.#lent = head.memory
    this.#beginFromRest()
    const message = head.compressed ? decompressed(head.bytes, this.#encoding) : head.bytes
    return { message, size: prefixBytes + head.length }
  }

  /** Uses the memory of the message that was taken last for the next ones: nobody looks at it any more. */
  reuse(): void {
    if (this.#lent !== undefined && this.#lent.length >= worthReusing) this.#spare = this.#lent
    this.#lent = undefined
  }

  #beginFromRest(): void {
    if (!this.more) return
    this.#start += this.#begin(this.#rest.subarray(this.#start, this.#end), true)
    if (!this.more) {
      this.#rest = nothing
      this.#start = this.#end = 0
    }
  }

  /** Begins a message with these bytes, to be kept if they are `ours`, and says how many of them belong to it. */
  #begin(bytes: Buffer, ours: boolean): number {
    if (bytes.length < prefixBytes) return 0
    const flag = bytes[0] ?? 0
    const size = bytes.readUInt32BE(1)
    if (flag > 1) throw internal(`grpc: received unexpected payload format ${flag}`)
    if (size > maxMessageBytes) throw tooLarge(size)
    const end = prefixBytes + size
    if (bytes.length >= end) {
      const message = bytes.subarray(prefixBytes, end)
      this.#head = { bytes: ours ? message : inOwnMemory(message), length: size, compressed: flag === 1 }
      return end
    }
    if (!this.#source.expect(end - bytes.length)) return 0
    const memory = this.#spare.length >= size ? this.#spare : Buffer.allocUnsafeSlow(size)
    this.#spare = nothing
    const whole = memory.subarray(0, size)
    this.#head = { bytes: whole, length: bytes.copy(whole, 0, prefixBytes), compressed: flag === 1, memory }
    return bytes.length
  }

  #keep(bytes: Buffer): void {
    const length = this.#end - this.#start
    if (this.#end + bytes.length > this.#rest.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(256, 2 * (length + bytes.length)))
      this.#rest.copy(larger, 0, this.#start, this.#end)
      this.#rest = larger
      this.#start = 0
      this.#end = length
    }
    this.#end += bytes.copy(this.#rest, this.#end)
  }
}

const tooLarge = (size: number | string) =>
  resourceExhausted(`grpc: received message larger than max (${size} vs. ${maxMessageBytes})`)

/** The errors are those of Go's servers. */
function decompressed(bytes: Buffer, encoding: string): Buffer {
  if (encoding === 'identity') throw internal('grpc: compressed flag set with identity or empty encoding')
  const decompress = encoding === 'gzip' ? gunzipSync : encoding === 'deflate' ? inflateSync : undefined
  if (decompress === undefined)
    throw unimplemented(`grpc: Decompressor is not installed for grpc-encoding ${JSON.stringify(encoding)}`)
  try {
    return decompress(bytes, { maxOutputLength: maxMessageBytes })
  } catch (error) {
    if (error instanceof RangeError) throw tooLarge('more')
    throw internal(`grpc: failed to decompress the received message: ${error instanceof Error ? error.message : error}`)
  }
}
