import { describe, expect, test } from 'vitest'
import { formatTime, fromNanos, later, parseTime } from './timestamps.ts'

describe('times in files', () => {
  test('keep their nanoseconds', () => {
    const time = { seconds: 1_700_000_000, nanos: 7 }
    expect(formatTime(time)).toBe('2023-11-14T22:13:20.000000007Z')
    expect(parseTime(formatTime(time))).toEqual(time)
    expect(fromNanos(1_700_000_000_000_000_007n)).toEqual(time)
  })

  test('are read as Go writes them, and not at all when they are no times', () => {
    expect(parseTime('2023-11-15T00:13:20.5+02:00\n')).toEqual({ seconds: 1_700_000_000, nanos: 500_000_000 })
    expect(parseTime('2023-11-14T22:13:20Z')).toEqual({ seconds: 1_700_000_000, nanos: 0 })
    for (const text of ['', 'yesterday', '2023-11-14', '2023-99-99T00:00:00Z']) expect(parseTime(text)).toBeUndefined()
  })

  test('compare by seconds, then nanoseconds', () => {
    const [a, b] = [
      { seconds: 1, nanos: 5 },
      { seconds: 1, nanos: 6 },
    ]
    expect([later(a, b), later(b, a), later({ seconds: 2, nanos: 0 }, b)]).toEqual([b, b, { seconds: 2, nanos: 0 }])
  })
})
