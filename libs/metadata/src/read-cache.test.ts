import { setTimeout as sleep } from 'node:timers/promises'
import { startRedis } from '@flotilla/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createMetadata, type Metadata } from './store.ts'
import { tables } from './tables.ts'

let redis: Awaited<ReturnType<typeof startRedis>>
let metadata: Metadata

beforeEach(async () => {
  redis = await startRedis()
  metadata = await createMetadata({ url: redis.url, origin: 'n', soleWriter: true })
  await trusted()
})
afterEach(async () => {
  await metadata[Symbol.asyncDispose]()
  await redis[Symbol.asyncDispose]()
})

const table = tables.containers
const get = async (field: string) => (await metadata.get('ns', table, field))?.toString()
const set = (field: string, value: string) => metadata.transact('ns', { writes: [{ op: 'set', table, field, value }] })

/** How many reads the store has answered. */
async function asked(): Promise<number> {
  const stats = await metadata.redis.info('commandstats')
  return Number(/cmdstat_hget:calls=(\d+)/.exec(stats)?.[1] ?? 0)
}

/** Waits until reads are kept. */
async function trusted(): Promise<void> {
  await expect
    .poll(
      async () => {
        const before = await asked()
        for (let time = 0; time < 3; time++) await get('probe')
        return (await asked()) - before
      },
      { timeout: 20_000 },
    )
    .toBeLessThan(3)
}

describe('records of a store that nobody else writes to', () => {
  it('are read once, also what is absent, until they are written', async () => {
    await set('a', '1')
    const before = await asked()
    for (let time = 0; time < 10; time++) expect([await get('a'), await get('b')]).toEqual(['1', undefined])
    expect((await asked()) - before).toBe(2)
    await set('b', '2')
    expect(await metadata.getMany('ns', table, ['a', 'b'])).toEqual([Buffer.from('1'), Buffer.from('2')])
    await metadata.transact('ns', { writes: [{ op: 'delete', table, field: 'a' }] })
    expect(await get('a')).toBe(undefined)
    await metadata.transact('ns', { writes: [{ op: 'drop', table }] })
    expect(await get('b')).toBe(undefined)
  })

  it('come from memory when many are asked for, and only those that are not there from the store', async () => {
    const calls = async () => {
      const stats = await metadata.redis.info('commandstats')
      return Number(/cmdstat_hmget:calls=(\d+)/.exec(stats)?.[1] ?? 0)
    }
    const fields = Array.from({ length: 100 }, (_, index) => `field ${index}`)
    for (const field of fields.slice(0, 50)) await set(field, '1')
    const expected = fields.map((_, index) => (index < 50 ? Buffer.from('1') : undefined))
    const many = () => metadata.getMany('ns', table, fields)
    expect(await many()).toEqual(expected)
    for (const field of fields) await get(field)
    const before = await calls()
    expect(await many()).toEqual(expected)
    expect((await calls()) - before).toBe(0)
    await set('field 7', '2')
    await set('field 70', '3')
    expect(await many()).toEqual(expected.with(7, Buffer.from('2')).with(70, Buffer.from('3')))
    expect((await calls()) - before).toBe(1)
    // A change that was sent and not answered is not hidden by what was in memory.
    const changing = set('field 8', '4')
    // It is sent in this turn.
    await new Promise(setImmediate)
    expect((await many())[8]).toEqual(Buffer.from('4'))
    await changing
    await metadata.transact('ns', { writes: [{ op: 'drop', table }] })
    expect(await many()).toEqual(fields.map(() => undefined))
  })

  it('of tables that scripts change by themselves are read each time', async () => {
    const before = await asked()
    for (let time = 0; time < 5; time++) await metadata.get('ns', tables.namespace, 'record')
    expect((await asked()) - before).toBe(5)
  })

  it('are never older than what was acknowledged before they were asked for', async () => {
    const acknowledged = new Map<string, number>()
    let going = true
    const fields = ['a', 'b', 'c']
    const writers = fields.map(async (field) => {
      for (let value = 1; going; value++) {
        await set(field, String(value))
        acknowledged.set(field, value)
        if (value % 7 === 0) await sleep(Math.random() * 3)
      }
    })
    let reads = 0
    const readers = Array.from({ length: 12 }, async (_, index) => {
      const field = fields[index % 3]!
      while (going) {
        const least = acknowledged.get(field) ?? 0
        expect(Number((await get(field)) ?? 0)).toBeGreaterThanOrEqual(least)
        reads++
        if (index > 6) await sleep(Math.random() * 2)
        // Reads from memory never leave the microtasks, and nobody else would have a turn.
        else await new Promise(setImmediate)
      }
    })
    await sleep(1_500)
    going = false
    await Promise.all([...writers, ...readers])
    expect(reads).toBeGreaterThan(100)
  })

  it('survive the death of the store, whatever was under way', async () => {
    const acknowledged = new Map<string, number>()
    let [going, failures] = [true, 0]
    const work = ['a', 'b'].flatMap((field) => [
      (async () => {
        for (let value = 1; going; value++) {
          try {
            await set(field, String(value))
            acknowledged.set(field, value)
          } catch {
            failures++
            await sleep(5)
          }
        }
      })(),
      (async () => {
        while (going) {
          const least = acknowledged.get(field) ?? 0
          const found = await get(field).catch(() => undefined)
          if (found !== undefined) expect(Number(found)).toBeGreaterThanOrEqual(least)
          await new Promise(setImmediate)
        }
      })(),
    ])
    for (let time = 0; time < 3; time++) {
      await sleep(200)
      await redis.kill()
      await redis.restart()
      await trusted()
    }
    going = false
    await Promise.all(work)
    expect(failures).toBeGreaterThan(0)
    // What is in memory is what is in the store.
    for (const field of ['a', 'b']) {
      const kept = [await get(field), await get(field)]
      expect(kept).toEqual(Array(2).fill(await metadata.redis.hget(`fl:{ns}:${table}`, field)))
    }
  })
})
