import { createLogger } from '@flotilla/log'
import { tempWorld } from '@flotilla/testing'
import { expect, test } from 'vitest'
import { btrfs } from './index.ts'

test('on another file system it says what that is', async () => {
  await using world = await tempWorld({ name: 'btrfs', tmpfs: true })
  const root = world.join('root')
  await expect(btrfs().open(root, createLogger({ level: 'fatal', name: 'test' }))).rejects.toThrow(
    `path ${root} (tmpfs) must be a btrfs filesystem to be used with the btrfs snapshotter`,
  )
})
