import { createMetadata, type Metadata, tables } from '@flotilla/metadata'
import { startRedis } from '@flotilla/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { containerPages } from './pages.ts'

const ids = Array.from({ length: 1_000 }, (_, index) => `c${String(index).padStart(4, '0')}`)

let redis: Awaited<ReturnType<typeof startRedis>>
let metadata: Metadata

beforeEach(async () => {
  redis = await startRedis()
  metadata = await createMetadata({ url: redis.url, origin: 'n', soleWriter: true })
  await metadata.transact('ns', {
    writes: ids.map((id) => ({ op: 'set', table: tables.containers, field: id, value: id })),
  })
})
afterEach(async () => {
  await metadata[Symbol.asyncDispose]()
  await redis[Symbol.asyncDispose]()
})

const listed = async () => (await Array.fromAsync(containerPages(metadata, 'ns'))).flat().map(String)

/** How many reads of many records the store has answered. */
async function asked(): Promise<number> {
  const stats = await metadata.redis.info('commandstats')
  return Number(/cmdstat_hmget:calls=(\d+)/.exec(stats)?.[1] ?? 0)
}

it('gives all in order; from memory too it lets others have their turn after each page', async () => {
  expect(await listed()).toEqual(ids)
  await expect
    .poll(
      async () => {
        for (const id of ids) await metadata.get('ns', tables.containers, id)
        const before = await asked()
        await listed()
        return (await asked()) - before
      },
      { timeout: 20_000 },
    )
    .toBe(0)
  let turns = 0
  const pages: number[] = []
  const turn = () => {
    turns++
    next = setImmediate(turn)
  }
  let next = setImmediate(turn)
  for await (const page of containerPages(metadata, 'ns')) pages.push(turns, page.length)
  clearImmediate(next)
  expect(pages.filter((_, index) => index % 2 === 1)).toEqual([200, 200, 200, 200, 200])
  expect(new Set(pages.filter((_, index) => index % 2 === 0)).size).toBe(5)
})

it('leaves out what was removed meanwhile', async () => {
  const pages = containerPages(metadata, 'ns')
  await pages.next()
  await metadata.transact('ns', { writes: [{ op: 'delete', table: tables.containers, field: 'c0999' }] })
  expect((await Array.fromAsync(pages)).flat().map(String)).toEqual(ids.slice(200, -1))
})

it('fails when the store goes away between pages, and not at all for who is gone by then', async () => {
  const [abandoned, pages] = [containerPages(metadata, 'ns'), containerPages(metadata, 'ns')]
  // The next page of both has been asked for, and no answer read.
  await Promise.all([abandoned.next(), pages.next()])
  metadata.redis.disconnect()
  await abandoned.return(undefined)
  // A rejection that nobody took would fail the test here.
  await new Promise(setImmediate)
  await expect(Array.fromAsync(pages)).rejects.toMatchObject({ code: 14 })
})
