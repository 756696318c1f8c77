import { describe, expect, test } from 'vitest'
import { type Bench, bytes, code } from './bench.ts'

/** How content comes back. */
export function readingCases(bench: Bench): void {
  describe('reading', () => {
    const { fresh, novel, put, read } = bench
    test('gives any part of a blob', async () => {
      const call = fresh()
      const digest = await put(call, bytes('0123456789'))
      expect(String(await read(call, digest, 3, 4))).toBe('3456')
      expect(String(await read(call, digest, 3))).toBe('3456789')
      expect(String(await read(call, digest, -5, 2))).toBe('01')
      expect(String(await read(call, digest, 8, 100))).toBe('89')
      expect(String(await read(call, digest, 4, -1))).toBe('456789')
      expect(String(await read(call, digest, 10))).toBe('')
      await expect(read(call, digest, 11)).rejects.toMatchObject(
        code('OUT_OF_RANGE', /^read past object length 10 bytes/),
      )
    })

    test('sends no more than 1 MiB in a message', async () => {
      const call = fresh()
      const digest = await put(call, Buffer.alloc(2 * 1024 * 1024 + 5, novel()))
      const sizes: number[] = []
      for await (const { data } of bench.content.read({ digest, offset: 0, size: 0 }, call)) sizes.push(data.length)
      expect(sizes.reduce((sum, size) => sum + size)).toBe(2 * 1024 * 1024 + 5)
      expect(Math.max(...sizes)).toBeLessThanOrEqual(1024 * 1024)
    })

    test('may be left in the middle', async () => {
      const call = fresh()
      const digest = await put(call, Buffer.alloc(5 * 1024 * 1024, novel()))
      for (let i = 0; i < 50; i++) for await (const _ of bench.content.read({ digest, offset: 0, size: 0 }, call)) break
      expect(await read(call, digest, 0, 5)).toHaveLength(5)
    })
  })
}
