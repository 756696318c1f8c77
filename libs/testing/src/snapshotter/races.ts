import { readdirSync, writeFileSync } from 'node:fs'
import { hasCode, status } from '@flotilla/rpc'
import { expect, test } from 'vitest'
import type { Session } from './session.ts'

const times = <T>(count: number, work: (index: number) => Promise<T>) =>
  Promise.allSettled(Array.from({ length: count }, (_, index) => work(index)))
const won = (results: PromiseSettledResult<unknown>[]) => results.filter(({ status }) => status === 'fulfilled').length
const codes = (results: PromiseSettledResult<unknown>[]) =>
  new Set(results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : [])))

/** What callers get that do not know of each other. */
export function raceCases(session: () => Session): void {
  test('of fifty that prepare one key, one wins and the others leave no directory', async () => {
    const s = session()
    const base = await s.layer('', (root) => writeFileSync(`${root}/f`, ''))
    const before = await s.tested.directories()
    const results = await times(50, () => s.prepare('k', base))
    expect(won(results)).toBe(1)
    expect(codes(results)).toEqual(new Set([status.ALREADY_EXISTS]))
    expect((await s.tested.directories()).length).toBe(before.length + 1)
    await s.inside(await s.mounts('k'), (root) => expect(readdirSync(root)).toEqual(['f']))
  })

  test('fifty prepared upon one parent are fifty trees', async () => {
    const s = session()
    const base = await s.layer('', (root) => writeFileSync(`${root}/base`, ''))
    const results = await times(50, async (index) => {
      await s.inside(await s.prepare(`k${index}`, base), (root) => writeFileSync(`${root}/mine-${index}`, ''))
      await s.commit(`n${index}`, `k${index}`)
    })
    expect(results.filter(({ status }) => status === 'rejected')).toEqual([])
    for (const index of [0, 17, 49])
      await s.look(`n${index}`, (root) => expect(readdirSync(root)).toEqual(['base', `mine-${index}`]))
    await s.look(base, (root) => expect(readdirSync(root)).toEqual(['base']))
  })

  test('of twenty that commit one key, one wins; of twenty that commit to one name, too', async () => {
    const s = session()
    await s.prepare('k')
    const one = await times(20, (index) => s.commit(`n${index}`, 'k'))
    expect(won(one)).toBe(1)
    expect(codes(one)).toEqual(new Set([status.NOT_FOUND]))
    for (let i = 0; i < 20; i++) await s.prepare(`k${i}`)
    const two = await times(20, (index) => s.commit('n', `k${index}`))
    expect(won(two)).toBe(1)
    expect(codes(two)).toEqual(new Set([status.ALREADY_EXISTS]))
    expect((await s.names('kind==active')).length).toBe(19)
  })

  test('a parent that is removed while children are made upon it either has them or never had', async () => {
    const s = session()
    for (let round = 0; round < 8; round++) {
      const base = await s.layer('', (root) => writeFileSync(`${root}/f`, ''), `base-${round}`)
      const keys = Array.from({ length: 8 }, (_, index) => `k${round}-${index}`)
      const [removal, ...made] = await Promise.all([
        s.remove(base).then(
          () => true,
          (error) => {
            if (hasCode(error, status.FAILED_PRECONDITION)) return false
            throw error
          },
        ),
        ...keys.map((key) =>
          s.prepare(key, base).then(
            () => true,
            (error) => {
              if (hasCode(error, status.NOT_FOUND)) return false
              throw error
            },
          ),
        ),
      ])
      if (removal) expect(made).not.toContain(true)
      for (const key of keys.filter((_, index) => made[index])) await s.remove(key)
      if (!removal) await s.remove(base)
    }
    await s.tested.collect()
    expect(await s.names()).toEqual([])
  })
}
