import { randomBytes, randomInt } from 'node:crypto'
import { expect, it } from 'vitest'
import { FramedBytes } from './framed-bytes.ts'
import { frameBytes } from './frames.ts'

const edges = [1, 2, frameBytes - 1, frameBytes, frameBytes + 1, 3 * frameBytes - 1, 3 * frameBytes]

it.each(edges)('gives back the %i bytes that were put in, in frames and pieces of any size', (length) => {
  const framed = new FramedBytes(3, () => {})
  for (let time = 0; time < 200; time++) {
    const [bytes, start] = [randomBytes(length), randomInt(Math.min(length, 40))]
    const places = framed.begin(length)
    let put = 0
    for (const place of places) put += bytes.copy(place, 0, put)
    // As whoever writes a head and leaves the rest to somebody else.
    put = start
    for (const place of framed.begin(length, start)) put += bytes.copy(place, 0, put)
    expect([put, framed.left]).toEqual([length, length])
    const found: Buffer[] = []
    while (framed.left > 0) {
      const [most, before] = [time === 0 ? length : 1 + randomInt(2 * frameBytes), framed.left]
      const frames = framed.takeFrames(most, 7)
      if (frames === undefined) found.push(Buffer.from(framed.take(most)))
      for (let at = 0; frames !== undefined && at < frames.length; ) {
        const size = frames.readUIntBE(at, 3)
        expect([frames[at + 3], frames[at + 4], frames.readUInt32BE(at + 5)]).toEqual([0, 0, 7])
        expect(size).toBeLessThanOrEqual(frameBytes)
        at += 9 + size
        found.push(Buffer.from(frames.subarray(at - size, at)))
      }
      expect(before - framed.left).toBeLessThanOrEqual(most)
    }
    expect(Buffer.concat(found).equals(bytes)).toBe(true)
  }
})
