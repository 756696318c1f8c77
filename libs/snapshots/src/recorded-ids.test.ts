import { rm } from 'node:fs/promises'
import { makeCall, status } from '@flotilla/rpc'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { startRedis, tempWorld } from '@flotilla/testing'
import { expect, test } from 'vitest'
import { openSnapshots } from './testing/fixture.ts'

const snapshotter = 'overlayfs'
const call = makeCall({ namespace: 'emptied' })

test('a root that was emptied beside kept records gives no id a second time', async () => {
  await using world = await tempWorld({ name: 'emptied' })
  await using redis = await startRedis({ relaxed: true })
  const where = { root: world.join('root'), redis: redis.url }
  const prepare = { snapshotter, parent: '', labels: {} }
  {
    await using before = await openSnapshots(overlayfs(), where)
    for (const key of ['one', 'two', 'three']) await before.service.prepare({ ...prepare, key }, call)
    await before.service.commit({ snapshotter, name: 'base', key: 'one', labels: {}, parent: '' }, call)
    // Its record is gone, its directory is for the collector, who must not take another for it.
    await before.service.remove({ snapshotter, key: 'three' }, call)
  }
  await rm(where.root, { recursive: true })

  await using after = await openSnapshots(overlayfs(), where)
  await after.service.prepare({ ...prepare, key: 'four' }, call)
  expect(await after.directories()).toEqual(['4'])
  await expect(after.service.prepare({ ...prepare, key: 'five', parent: 'base' }, call)).rejects.toMatchObject({
    code: status.NOT_FOUND,
    message: expect.stringContaining('snapshot directory 1'),
  })
})
