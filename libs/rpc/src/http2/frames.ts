// Frames, RFC 9113 section 4 and 6.

export const frame = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const

export const errorCode = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  enhanceYourCalm: 11,
} as const

/** What a client sends first. */
export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export const headBytes = 9

const nothing: Buffer = Buffer.alloc(0)

/** What both sides may send in one frame: the protocol's default, which we do not change. */
export const frameBytes = 16 * 1024

/** A frame's head, and its payload where that is small. */
export function frameOf(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(headBytes + payload.length)
  writeHead(bytes, 0, payload.length, type, flags, stream)
  payload.copy(bytes, headBytes)
  return bytes
}

export function writeHead(into: Buffer, at: number, length: number, type: number, flags: number, stream: number): void {
  into[at] = length >> 16
  into[at + 1] = length >> 8
  into[at + 2] = length
  into[at + 3] = type
  into[at + 4] = flags
  into.writeUInt32BE(stream, at + 5)
}

export function numberFrame(type: number, stream: number, number: number): Buffer {
  const bytes = Buffer.allocUnsafe(headBytes + 4)
  writeHead(bytes, 0, 4, type, 0, stream)
  bytes.writeUInt32BE(number, headBytes)
  return bytes
}

/** A breach of the protocol that ends the connection. */
export class ConnectionError extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.name = 'ConnectionError'
    this.code = code
  }
}

/** Told of each frame as it comes. */
export interface FrameTaker {
  /** A piece of a data frame without padding; `last` with the frame's end. Its memory is not the taker's to keep. */
  data(stream: number, piece: Buffer, flags: number, last: boolean): void
  /** Whether it takes no more for now. */
  readonly resting: boolean
  /** Any other frame, whole, and padded data. The same goes for its memory. */
  whole(type: number, flags: number, stream: number, payload: Buffer): void
}

/**
 * Cuts what a client sends into frames. What comes while the taker rests is kept until it is asked to read on, with
 * whatever came or with nothing. Throws a {@link ConnectionError} for what is no HTTP/2. What it was given to read is
 * the giver's again when that returns.
 */
export class FrameReader {
  readonly #taker: FrameTaker
  readonly #largest: number
  #greeted = false
  /** Whether the first frame came, which tells a client's settings. */
  #begun = false
  /** Bytes of a head or of a frame that is taken whole, until there are enough. */
  #kept: Buffer = nothing
  /** Bytes of the current data frame that are still to come. */
  #dataLeft = 0
  #dataStream = 0
  #dataFlags = 0

  constructor(taker: FrameTaker, largestPayload: number) {
    this.#taker = taker
    this.#largest = largestPayload
  }

  read(chunk: Buffer): void {
    const kept = this.#kept
    let bytes = kept.length === 0 ? chunk : chunk.length === 0 ? kept : Buffer.concat([kept, chunk])
    if (!this.#greeted) {
      const came = Math.min(bytes.length, preface.length)
      if (bytes.compare(preface, 0, came, 0, came) !== 0) throw new ConnectionError(errorCode.protocol, 'no HTTP/2')
      if (bytes.length < preface.length) {
        this.#kept = kept.length === 0 ? Buffer.from(bytes) : bytes
        return
      }
      this.#greeted = true
      bytes = bytes.subarray(preface.length)
    }
    let at = 0
    while (!this.#taker.resting) {
      if (this.#dataLeft > 0) {
        if (at === bytes.length) break
        const piece = bytes.subarray(at, at + this.#dataLeft)
        at += piece.length
        this.#dataLeft -= piece.length
        this.#taker.data(this.#dataStream, piece, this.#dataFlags, this.#dataLeft === 0)
        continue
      }
      if (bytes.length - at < headBytes) break
      const length = bytes.readUIntBE(at, 3)
      const [type, flags] = [bytes[at + 3] ?? 0, bytes[at + 4] ?? 0]
      const stream = bytes.readUInt32BE(at + 5) & 0x7fff_ffff
      if (!this.#begun && (type !== frame.settings || (flags & flag.ack) !== 0))
        throw new ConnectionError(errorCode.protocol, 'a client that does not begin with its settings')
      this.#begun = true
      if (length > this.#largest) throw new ConnectionError(errorCode.frameSize, `a frame of ${length} bytes`)
      if (type === frame.data && (flags & flag.padded) === 0) {
        at += headBytes
        this.#dataLeft = length
        this.#dataStream = stream
        this.#dataFlags = flags
        if (length === 0) this.#taker.data(stream, bytes.subarray(at, at), flags, true)
        continue
      }
      const end = at + headBytes + length
      if (bytes.length < end) break
      this.#taker.whole(type, flags, stream, bytes.subarray(at + headBytes, end))
      at = end
    }
    if (at === bytes.length) this.#kept = nothing
    else this.#kept = kept.length === 0 ? Buffer.from(bytes.subarray(at)) : bytes.subarray(at)
  }
}

/** A payload without its padding. */
export function unpadded(payload: Buffer, flags: number): Buffer {
  if ((flags & flag.padded) === 0) return payload
  const padding = payload[0] ?? 0
  if (padding >= payload.length) throw new ConnectionError(errorCode.protocol, 'more padding than payload')
  return payload.subarray(1, payload.length - padding)
}
