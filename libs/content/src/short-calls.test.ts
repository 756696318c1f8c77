import { expect, test } from 'vitest'
import { ShortCalls } from './short-calls.ts'

const KiB = 1024

/** As a call that waits for the disk. */
function wait(): number {
  const end = performance.now() + 20
  while (performance.now() < end);
  return 7
}

test('few bytes are for this thread, many for the pool', () => {
  const calls = new ShortCalls()
  expect(calls.make(64 * KiB, wait)).toBe(7)
  expect(new ShortCalls().make(64 * KiB + 1, wait)).toBeUndefined()
})

test('after a call that had to wait, the next 64 MiB are for the pool', () => {
  const calls = new ShortCalls()
  expect(calls.make(1, wait)).toBe(7)
  for (let left = 64 * KiB; left > 0; left -= 32) expect(calls.make(32 * KiB, () => 1)).toBeUndefined()
  expect(calls.make(32 * KiB, () => 1)).toBe(1)
})

test('a call that fails tells how', () => {
  expect(() =>
    new ShortCalls().make(1, () => {
      throw new Error('ENOSPC')
    }),
  ).toThrow('ENOSPC')
})
