import { Image } from '@flotilla/api/containerd/services/images/v1/images'
import { createMetadata, tables, trashTable } from '@flotilla/metadata'
import { startRedis } from '@flotilla/testing'
import { expect, test } from 'vitest'
import { type Collected, collectNamespace } from './collect-namespace.ts'
import { fill } from './testing/large.ts'
import { measureTurns } from './testing/latency.ts'
import { digestNumber } from './testing/world.ts'

// 100,000 objects; how long others wait meanwhile is what bench/collect.ts is for, here it is only told.
test('5,000 images with all that belongs to them: kept, then removed', {
  timeout: 300_000,
}, async () => {
  await using redis = await startRedis({ relaxed: true })
  await using metadata = await createMetadata({ url: redis.url, origin: 'test' })
  const { signal } = new AbortController()
  await fill(metadata, 'kept', 5_000, false)
  const kept = await collectNamespace(metadata, 'kept', signal)
  expect(Object.values(kept?.removed ?? {})).toEqual([0, 0, 0, 0, 0])

  await fill(metadata, 'gone', 5_000, true)
  // One image is made of it while the collection runs, and holds its own.
  const image = Image.fromPartial({ name: 'i', target: { mediaType: 'm', digest: digestNumber(700), size: 9 } })
  const marked = async () => {
    await metadata.transact('gone', {
      writes: [{ op: 'set', table: tables.images, field: 'i', value: Buffer.from(Image.encode(image).finish()) }],
      touches: [{ type: tables.images, id: 'i' }],
    })
  }
  let gone: Collected | undefined
  const turns = await measureTurns(async () => {
    gone = await collectNamespace(metadata, 'gone', signal, { marked })
  })
  expect(gone?.removed).toEqual({ images: 0, content: 64_987, snapshots: 24_996, ingests: 0, leases: 0 })
  expect(await metadata.size('gone', tables.content)).toBe(13)
  expect(await metadata.size('gone', trashTable('node-1', 'overlayfs'))).toBe(24_996)
  console.log(`computed in a turn while 100,000 objects were collected: ${turns}`)
})
