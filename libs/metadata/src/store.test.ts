import { status } from '@flotilla/rpc'
import { startRedis } from '@flotilla/testing'
import { metadataSuite } from '@flotilla/testing/metadata-suite'
import { expect, test } from 'vitest'
import { createMetadata } from './store.ts'

metadataSuite('redis', async () => {
  const redis = await startRedis({ relaxed: true })
  return {
    open: (origin) => createMetadata({ url: redis.url, origin }),
    [Symbol.asyncDispose]: () => redis[Symbol.asyncDispose](),
  }
})

test('while Redis is away calls fail UNAVAILABLE, afterwards they work and nothing acknowledged is lost', async () => {
  await using redis = await startRedis()
  await using metadata = await createMetadata({ url: redis.url, origin: 'n' })
  await metadata.transact('ns', { writes: [{ op: 'set', table: 't', field: 'f', value: 'v' }] })
  await redis.kill()
  await expect(metadata.get('ns', 't', 'f')).rejects.toMatchObject({ code: status.UNAVAILABLE })
  await expect(
    metadata.transact('ns', { writes: [{ op: 'set', table: 't', field: 'f', value: 'w' }] }),
  ).rejects.toMatchObject({ code: status.UNAVAILABLE })
  await redis.restart()
  await expect
    .poll(() => metadata.get('ns', 't', 'f').catch(() => undefined), { timeout: 20_000 })
    .toEqual(Buffer.from('v'))
  // The script cache of the restarted server is empty.
  expect(await metadata.transact('ns', { writes: [{ op: 'set', table: 't', field: 'f', value: 'w' }] })).toEqual({
    ok: true,
  })
})

test('a flood of changes is carried out, however much longer than one command may take it lasts', async () => {
  await using redis = await startRedis({ relaxed: true })
  await using metadata = await createMetadata({ url: redis.url, origin: 'n', commandTimeout: 1_000 })
  const names = Array.from({ length: 40_000 }, (_, n) => String(n))
  const write = (field: string) => metadata.transact('ns', { writes: [{ op: 'set', table: 't', field, value: field }] })
  const outcomes = await Promise.all(names.map(write))
  expect(outcomes.every(({ ok }) => ok)).toBe(true)
  expect(await metadata.size('ns', 't')).toBe(names.length)
}, 120_000)
