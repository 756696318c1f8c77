import { BinaryWriter } from '@bufbuild/protobuf/wire'

/** Bytes from which on a field is worth a piece of its own. */
const bulk = 4096

/**
 * A writer for messages that carry bytes of a blob. The library's own grows a buffer of up to twice the size, filled with
 * zeros, then copies what is in it; this one copies large fields once, to where they belong.
 */
export class BulkWriter extends BinaryWriter {
  readonly #pieces: Uint8Array[] = []
  #depth = 0

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
    this.#pieces.push(super.finish(), value)
    return this
  }

  override finish(): Uint8Array<ArrayBuffer> {
    const rest = super.finish()
    if (this.#pieces.length === 0) return rest
    const pieces = this.#pieces.splice(0)
    return Buffer.concat([...pieces, rest])
  }
}
