import { native } from '@flotilla/snapshotter-native'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { snapshotterSuite } from '@flotilla/testing/snapshotter-suite'
import { vi } from 'vitest'
import { startSnapshots } from './testing/fixture.ts'
import { startProxied } from './testing/proxied.ts'

// Others may keep the machine busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

for (const kind of [overlayfs(), native()]) snapshotterSuite(kind.name, () => startSnapshots(kind))

snapshotterSuite('proxy of native', () => startProxied())
