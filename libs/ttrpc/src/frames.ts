/** Length of a frame's header: data length (u32), stream id (u32), type (u8), flags (u8), big-endian. */
export const headerBytes = 10

/** Most data that one frame may carry; a longer one is refused and its stream answered RESOURCE_EXHAUSTED. */
export const maxDataBytes = 4 * 1024 * 1024

export const frameType = { request: 1, response: 2, data: 3 } as const

export const frameFlag = {
  /** The sender will not send more on this stream. */
  remoteClosed: 0x01,
  /** The sender will send more on this stream. */
  remoteOpen: 0x02,
  /** The frame carries no message; without this flag empty data is an empty message. */
  noData: 0x04,
} as const

export interface Frame {
  readonly stream: number
  readonly type: number
  readonly flags: number
  /** Undefined when the sender announced more than {@link maxDataBytes}: the data was skipped. */
  readonly data: Uint8Array | undefined
  /** The announced length of the data, bytes. */
  readonly length: number
}

/** One frame as bytes. The caller has checked the length. */
export function encodeFrame(stream: number, type: number, flags: number, data: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headerBytes + data.length)
  frame.writeUInt32BE(data.length, 0)
  frame.writeUInt32BE(stream, 4)
  frame.writeUInt8(type, 8)
  frame.writeUInt8(flags, 9)
  frame.set(data, headerBytes)
  return frame
}

/** Cuts a byte stream into frames. */
export class FrameReader {
  #chunks: Buffer[] = []
  #held = 0
  #skip = 0
  #header: { length: number; stream: number; type: number; flags: number } | undefined

  /** Takes the next bytes of the stream and answers the frames that they complete. */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = []
    let rest = chunk
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, rest.length)
      this.#skip -= skipped
      rest = rest.subarray(skipped)
    }
    if (rest.length > 0) {
      this.#chunks.push(rest)
      this.#held += rest.length
    }
    for (;;) {
      if (!this.#header) {
        if (this.#held < headerBytes) return frames
        const bytes = this.#take(headerBytes)
        this.#header = {
          length: bytes.readUInt32BE(0),
          stream: bytes.readUInt32BE(4),
          type: bytes.readUInt8(8),
          flags: bytes.readUInt8(9),
        }
      }
      const header = this.#header
      if (header.length > maxDataBytes) {
        const here = Math.min(this.#held, header.length)
        this.#take(here)
        this.#skip = header.length - here
        frames.push({ ...header, data: undefined })
      } else {
        if (this.#held < header.length) return frames
        frames.push({ ...header, data: this.#take(header.length) })
      }
      this.#header = undefined
    }
  }

  /** Removes this many of the held bytes; they are joined only once, when all have come. */
  #take(count: number): Buffer {
    const joined = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks)
    const rest = joined.subarray(count)
    this.#chunks = rest.length > 0 ? [rest] : []
    this.#held = rest.length
    return joined.subarray(0, count)
  }
}
