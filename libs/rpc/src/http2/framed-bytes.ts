import { frame, frameBytes, headBytes, writeHead } from './frames.ts'

/** Bytes of a frame that is full, with its head. */
const strideBytes = headBytes + frameBytes

/**
 * Bytes of a stream laid out as they leave: in data frames of the size that every client takes, with room for the head
 * of each. Whoever puts them there, a read of a file say, spares a copy, and all frames that a client's windows take
 * leave in one write.
 */
export class FramedBytes {
  /** Told when all bytes are with the kernel, so that the memory can be used again. */
  readonly out: () => void
  readonly #memory: Buffer
  /** The payloads of all frames. */
  readonly #payloads: readonly Buffer[]
  #length = 0
  #at = 0

  constructor(frames: number, out: (bytes: FramedBytes) => void) {
    this.out = () => out(this)
    this.#memory = Buffer.allocUnsafeSlow(frames * strideBytes)
    this.#payloads = Array.from({ length: frames }, (_, index) => {
      const start = index * strideBytes + headBytes
      return this.#memory.subarray(start, start + frameBytes)
    })
  }

  get capacity(): number {
    return this.#payloads.length * frameBytes
  }

  /** Bytes that were not taken. */
  get left(): number {
    return this.#length - this.#at
  }

  /** Those of them that are in the same frame as the next. */
  get leftOfFrame(): number {
    return Math.min(this.left, frameBytes - (this.#at % frameBytes))
  }

  /** Begins anew with so many bytes, and gives the places for those from `start` on, in order. */
  begin(length: number, start = 0): Buffer[] {
    this.#length = length
    this.#at = 0
    const [first, last] = [Math.floor(start / frameBytes), Math.ceil(length / frameBytes)]
    return this.#payloads.slice(first, last).map((payload, index) => {
      const from = index === 0 ? start % frameBytes : 0
      const to = Math.min(frameBytes, length - (first + index) * frameBytes)
      return from === 0 && to === frameBytes ? payload : payload.subarray(from, to)
    })
  }

  /** Takes as many whole frames as there are in `most` bytes, with their heads; undefined when there is none. */
  takeFrames(most: number, stream: number): Buffer | undefined {
    if (this.#at % frameBytes !== 0) return undefined
    const end = most >= this.left ? this.#length : this.#at + most - (most % frameBytes)
    if (end === this.#at) return undefined
    const start = this.#placeOf(this.#at)
    for (let at = this.#at; at < end; at += frameBytes)
      writeHead(this.#memory, this.#placeOf(at), Math.min(frameBytes, end - at), frame.data, 0, stream)
    this.#at = end
    const lastStart = end - 1 - ((end - 1) % frameBytes)
    return this.#memory.subarray(start, this.#placeOf(lastStart) + headBytes + end - lastStart)
  }

  /** Takes at most so many bytes of the next frame, without a head. */
  take(most: number): Buffer {
    const length = Math.min(most, this.leftOfFrame)
    const start = this.#placeOf(this.#at - (this.#at % frameBytes)) + headBytes + (this.#at % frameBytes)
    this.#at += length
    return this.#memory.subarray(start, start + length)
  }

  /** Of the head of the frame that begins with this byte. */
  #placeOf(at: number): number {
    return (at / frameBytes) * strideBytes
  }
}
