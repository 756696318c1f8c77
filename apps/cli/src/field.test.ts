import { Metrics } from '@flotilla/api/io/containerd/cgroups/v2/cgroups'
import { describe, expect, it } from 'vitest'
import { fieldOf } from './field.ts'

describe('a number in a message', () => {
  const message = Metrics.encode(
    Metrics.fromPartial({
      pids: { current: 3, limit: Number.MAX_SAFE_INTEGER },
      cpu: { userUsec: 1, usageUsec: 123_456_789_012 },
      memory: { anon: 5, usage: 4096 },
    }),
  ).finish()

  it('is found by the numbers of its fields', () => {
    expect(fieldOf(message, [1, 1])).toBe(3)
    expect(fieldOf(message, [2, 1])).toBe(123_456_789_012)
    expect(fieldOf(message, [4, 32])).toBe(4096)
  })

  it('is 0 where it is not', () => {
    expect(fieldOf(message, [4, 33])).toBe(0)
    expect(fieldOf(message, [9])).toBe(0)
    expect(fieldOf(new Uint8Array(), [1])).toBe(0)
  })

  it('is not disturbed by one that is too large', () => {
    expect(fieldOf(Uint8Array.from([8, ...Array(9).fill(255), 1, 16, 7]), [2])).toBe(7)
  })

  it('of a message that is cut short is an error', () => {
    expect(() => fieldOf(Uint8Array.from([8, 128]), [1])).toThrow('ends within a number')
  })
})
