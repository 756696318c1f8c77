import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { now } from './time.ts'

const nanosOf = ({ seconds, nanos }: { seconds: number; nanos: number }) =>
  BigInt(seconds) * 1_000_000_000n + BigInt(nanos)

/** What another program reads. */
const theirs = () => BigInt(execFileSync('date', ['+%s%N'], { encoding: 'utf8' }).trim())

test('the time is between what other programs read before and after', () => {
  for (let round = 0; round < 20; round++) {
    const before = theirs()
    const time = nanosOf(now())
    const after = theirs()
    expect(time).toBeGreaterThan(before)
    expect(time).toBeLessThan(after)
  }
})

test('each time is later than the one before', () => {
  const times = Array.from({ length: 10_000 }, () => nanosOf(now()))
  for (const [index, time] of times.entries()) if (index > 0) expect(time > times[index - 1]!).toBe(true)
})
