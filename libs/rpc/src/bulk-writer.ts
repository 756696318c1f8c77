import { BinaryWriter } from '@bufbuild/protobuf/wire'

/** Bytes from which on a field is worth a piece of its own. */
const bulk = 4096

/** Bytes that the shared buffer has at first, and that it may have grown to and stay. */
const [firstScratch, largestScratch] = [64 * 1024, 1024 * 1024]

/** What the next writer writes into; absent while one does. */
let scratch: Uint8Array<ArrayBuffer> | undefined

/** The library's own parts, which its types do not show. */
interface Inner {
  buffer: Uint8Array<ArrayBuffer>
  pos: number
}

/**
 * A writer for short-lived use: one message is encoded at once, from start to `finish`. The library's own makes a buffer
 * for each message, which grows to up to twice the size, filled with zeros, and copies what is in it; here all writers
 * share one buffer, and what carries bytes of a blob is copied once, to where it belongs.
 */
export class BulkWriter extends BinaryWriter {
  readonly #pieces: Uint8Array[] = []
  #depth = 0

  constructor() {
    super()
    const inner = this as unknown as Inner
    // One that failed on the way did not give it back; then there is a new one.
    inner.buffer = scratch ?? new Uint8Array(firstScratch)
    scratch = undefined
  }

  override fork(): this {
    this.#depth++
    return super.fork()
  }

  override join(): this {
    this.#depth--
    return super.join()
  }

  override bytes(value: Uint8Array): this {
    // Within a submessage its length counts, so it stays in the buffer.
    if (this.#depth > 0 || value.length < bulk) return super.bytes(value)
    this.uint32(value.length)
    this.#pieces.push(this.#taken(), value)
    return this
  }

  override finish(): Buffer<ArrayBuffer> {
    const rest = this.#taken()
    const { buffer } = this as unknown as Inner
    if (buffer.length <= largestScratch) scratch = buffer
    return this.#pieces.length === 0 ? rest : Buffer.concat([...this.#pieces.splice(0), rest])
  }

  /** A copy of what was written since the last one. */
  #taken(): Buffer<ArrayBuffer> {
    const inner = this as unknown as Inner
    const copy = Buffer.allocUnsafe(inner.pos)
    copy.set(inner.buffer.subarray(0, inner.pos))
    inner.pos = 0
    return copy
  }
}
