import { unmountAll } from '@flotilla/linux'
import { blockfile } from '@flotilla/snapshotter-blockfile'
import { btrfs } from '@flotilla/snapshotter-btrfs'
import { erofs } from '@flotilla/snapshotter-erofs'
import { native } from '@flotilla/snapshotter-native'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { hasThinPools, tempWorld } from '@flotilla/testing'
import { snapshotterSuite } from '@flotilla/testing/snapshotter-suite'
import { describe, vi } from 'vitest'
import { hasExt4, makeScratch } from './testing/blockfile.ts'
import { hasBtrfs, mountBtrfs } from './testing/btrfs.ts'
import { startDevmapper } from './testing/devmapper.ts'
import { hasErofs } from './testing/erofs.ts'
import { startSnapshots } from './testing/fixture.ts'
import { startProxied } from './testing/proxied.ts'

// Others may keep the machine busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

for (const kind of [overlayfs(), native()]) snapshotterSuite(kind.name, () => startSnapshots(kind))

snapshotterSuite('proxy of native', () => startProxied())

// Needs the kernel's btrfs and a loop device.
describe.skipIf(!hasBtrfs())('on a file system of its own', () => {
  snapshotterSuite('btrfs', () => startSnapshots(btrfs(), mountBtrfs))
})

// Needs the kernel's ext4 and a loop device.
describe.skipIf(!hasExt4())('in files', () => {
  snapshotterSuite('blockfile', async () => {
    const world = await tempWorld({ name: 'blockfile-scratch' })
    const scratchFile = world.join('scratch')
    await makeScratch(scratchFile)
    const started = await startSnapshots(blockfile({ scratchFile }))
    return {
      ...started,
      async [Symbol.asyncDispose]() {
        await started[Symbol.asyncDispose]()
        await world[Symbol.asyncDispose]()
      },
    }
  })
})

// Needs the kernel's erofs, its tools and loop devices.
describe.skipIf(!hasErofs())('in images', () => {
  snapshotterSuite('erofs', () => startSnapshots(erofs(), async (root, world) => world.cleanup(() => unmountAll(root))))
})

// Needs the kernel's device mapper with thin pools, dmsetup and loop devices: see tools/virtual-machine, which is slow.
describe.skipIf(!hasThinPools())('on thin devices', { timeout: 600_000 }, () => {
  snapshotterSuite('devmapper', () => startDevmapper({}))
  snapshotterSuite('devmapper, discarding', () => startDevmapper({ discardBlocks: true }))
})
