import { native } from '@flotilla/snapshotter-native'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { snapshotterSuite } from '@flotilla/testing/snapshotter-suite'
import { startSnapshots } from './testing/fixture.ts'

for (const kind of [overlayfs(), native()]) snapshotterSuite(kind.name, () => startSnapshots(kind))
