import { BinaryWriter } from '@bufbuild/protobuf/wire'
import { FramedBytes } from './http2/framed-bytes.ts'
import { frameBytes } from './http2/frames.ts'
import { prefixBytes } from './message-reader.ts'
import type { WireType } from './service.ts'

/** Frames of a large room and of a small one: 1 MiB, which is what clients know, and the 32 KiB that Go's readers ask for. */
const [largeFrames, smallFrames] = [64, 3]
/** Rooms of each size that are kept for later answers. */
const mostKept = 4
/** Bytes for tag and length of a room's own field. */
const fieldHeadBytes = 4

const lengthDelimited = 2

/** Where a message is laid out that was not sent yet. */
const laidOut = new WeakMap<object, FramedBytes>()

/** Room for the bytes of one answer. */
export interface AnswerRoom<T> {
  /** To be filled, all of them, in this order, before the answer is given away. */
  readonly places: readonly Buffer[]
  /** Bytes in all places. */
  readonly length: number
  readonly answer: T
}

/**
 * Memory for answers with many bytes, laid out so that a server sends them from where they were put. A room is used again
 * once its answer is out, for another call perhaps; those of calls that were cut go with the garbage.
 */
export class AnswerRooms {
  readonly #large: FramedBytes[] = []
  readonly #small: FramedBytes[] = []

  /**
   * Makes room for an answer whose field of this name and number holds bytes, as many of `most` as go into one answer.
   * No field has a higher number.
   */
  take<T extends object, K extends keyof T & string>(
    type: WireType<T>,
    message: Omit<T, K>,
    field: readonly [K, number],
    most: number,
  ): AnswerRoom<T> {
    const [name, number] = field
    const fields = type.encode({ ...message, [name]: Buffer.alloc(0) } as unknown as T).finish()
    const around = prefixBytes + fields.length + fieldHeadBytes
    const [frames, kept] =
      around + most <= smallFrames * frameBytes ? [smallFrames, this.#small] : [largeFrames, this.#large]
    const bytes =
      kept.pop() ??
      new FramedBytes(frames, (one) => {
        if (kept.length < mostKept) kept.push(one)
      })
    const length = Math.min(most, bytes.capacity - around)
    const head = Buffer.concat([fields, fieldHead(number, length)])
    const [first, ...rest] = bytes.begin(prefixBytes + head.length + length)
    if (first === undefined) throw new Error('an answer without a frame')
    first[0] = 0
    first.writeUInt32BE(head.length + length, 1)
    first.set(head, prefixBytes)
    const places = [first.subarray(prefixBytes + head.length), ...rest]
    const answer = Object.defineProperty({ ...message }, name, {
      enumerable: true,
      // Only for who gets it in this process.
      get() {
        if (!laidOut.has(answer)) throw new Error(`the ${name} of an answer that was sent`)
        return Buffer.concat(places)
      },
    }) as unknown as T
    laidOut.set(answer, bytes)
    return { places, length, answer }
  }

  /**
   * An answer whose field holds a message of which these bytes are field `inner`, copied once to where they leave from.
   * All of them have to go into one answer.
   */
  wrapped<T extends object, K extends keyof T & string>(
    type: WireType<T>,
    message: Omit<T, K>,
    field: readonly [K, number],
    inner: number,
    bytes: Uint8Array,
  ): T {
    const head = fieldHead(inner, bytes.length)
    const size = head.length + bytes.length
    const { answer, length, places } = this.take(type, message, field, size)
    if (length < size) throw new RangeError(`${bytes.length} bytes do not go into one answer`)
    let at = -head.length
    for (const place of places) {
      // The head is shorter than the first place.
      if (at < 0) place.set(head)
      const part = bytes.subarray(Math.max(at, 0), at + place.length)
      place.set(part, place.length - part.length)
      at += place.length
    }
    return answer
  }
}

function fieldHead(number: number, length: number): Uint8Array {
  return new BinaryWriter().tag(number, lengthDelimited).uint32(length).finish()
}

/** Takes an answer out of its room, to be sent; undefined for one that has none. */
export function takeLaidOut(answer: unknown): FramedBytes | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined
  const bytes = laidOut.get(answer)
  if (bytes !== undefined) laidOut.delete(answer)
  return bytes
}
