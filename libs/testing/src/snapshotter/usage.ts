import { closeSync, ftruncateSync, linkSync, mkdirSync, openSync, symlinkSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Session } from './session.ts'

const mebibyte = 1 << 20
const data = (size: number) => Buffer.alloc(size, 'x')

/** Bytes allocated, each file once, without parents where the driver shares them. */
export function usageCases(session: () => Session): void {
  test('what was written counts, measured now while it is active', async () => {
    const s = session()
    const mounts = await s.prepare('k')
    const before = await s.usage('k')
    expect(before.inodes).toBe(1)
    await s.inside(mounts, (root) => {
      mkdirSync(`${root}/d`)
      writeFileSync(`${root}/d/f`, data(mebibyte))
      symlinkSync('f', `${root}/d/l`)
    })
    const after = await s.usage('k')
    expect(after.inodes - before.inodes).toBe(3)
    expect(after.size - before.size).toBeGreaterThanOrEqual(mebibyte)
    // Directory and link need something too, of which a thin pool gives 64 KiB at a time.
    expect(after.size - before.size).toBeLessThan(mebibyte + 2 * 65_536)
  })

  test('a file with several names counts once, a hole not at all', async () => {
    const s = session()
    await s.inside(await s.prepare('k'), (root) => {
      writeFileSync(`${root}/f`, data(mebibyte))
      for (let i = 0; i < 10; i++) linkSync(`${root}/f`, `${root}/f${i}`)
      const hole = openSync(`${root}/hole`, 'w')
      ftruncateSync(hole, 100 * mebibyte)
      closeSync(hole)
    })
    const { size, inodes } = await s.usage('k')
    expect(inodes).toBe(3)
    expect(size).toBeGreaterThanOrEqual(mebibyte)
    expect(size).toBeLessThan(2 * mebibyte)
  })

  test('what it was at the commit is what it stays; a view has none', async () => {
    const s = session()
    await s.inside(await s.prepare('k'), (root) => writeFileSync(`${root}/f`, data(mebibyte)))
    const active = await s.usage('k')
    await s.commit('n', 'k')
    expect(await s.usage('n')).toEqual(active)
    await s.prepare('child', 'n')
    expect(await s.usage('n')).toEqual(active)
    await s.view('v', 'n')
    expect(await s.usage('v')).toEqual({ size: 0, inodes: 0 })
  })
}
