import { expect, test } from 'vitest'
import { parseDuration, parseTime } from './go-time.ts'

test.each([
  ['2024-05-06T07:08:09Z', Date.UTC(2024, 4, 6, 7, 8, 9)],
  ['2024-05-06T07:08:09.123456789Z', Date.UTC(2024, 4, 6, 7, 8, 9, 123)],
  ['2024-05-06T07:08:09.5+02:00', Date.UTC(2024, 4, 6, 5, 8, 9, 500)],
  ['2024-02-29T00:00:00Z', Date.UTC(2024, 1, 29)],
  ['2023-02-29T00:00:00Z', undefined],
  ['2024-02-30T00:00:00Z', undefined],
  ['2024-05-06T24:00:00Z', undefined],
  ['2024-05-06T07:08:09', undefined],
  ['2024-05-06 07:08:09Z', undefined],
  ['2024-05-06', undefined],
  ['tomorrow', undefined],
  ['', undefined],
])('time %s', (text, ms) => {
  expect(parseTime(text)).toBe(ms)
})

test.each([
  ['24h', 86_400_000],
  ['1h30m', 5_400_000],
  ['1.5s', 1_500],
  ['-2m', -120_000],
  ['100ms', 100],
  ['2us', 0.002],
  ['0', 0],
  ['.5h', 1_800_000],
  ['', undefined],
  ['5', undefined],
  ['1d', undefined],
  ['1h x', undefined],
  ['h', undefined],
])('duration %s', (text, ms) => {
  expect(parseDuration(text)).toBe(ms)
})
