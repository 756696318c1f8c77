import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { DigestLocks } from './digest-locks.ts'

describe('the lock of a digest', () => {
  test('is shared by many, or one has it alone, in the order of asking', async () => {
    const locks = new DigestLocks()
    const order: string[] = []
    const enter = async (name: string, lock: Promise<Disposable>) => {
      const held = await lock
      order.push(name)
      return held
    }
    const first = await enter('shared 1', locks.share('d'))
    const second = await enter('shared 2', locks.share('d'))
    const alone = enter('alone', locks.exclude('d'))
    const later = enter('shared 3', locks.share('d'))
    await enter('another digest', locks.exclude('e'))
    first[Symbol.dispose]()
    first[Symbol.dispose]()
    await setImmediate()
    expect(order).toEqual(['shared 1', 'shared 2', 'another digest'])
    second[Symbol.dispose]()
    const held = await alone
    await setImmediate()
    expect(order).toEqual(['shared 1', 'shared 2', 'another digest', 'alone'])
    held[Symbol.dispose]()
    await later
    expect(order.at(-1)).toBe('shared 3')
  })
})
