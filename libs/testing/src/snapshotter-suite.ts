import { afterAll, beforeAll, beforeEach, describe } from 'vitest'
import { lifeCases } from './snapshotter/life.ts'
import { raceCases } from './snapshotter/races.ts'
import { Session, type SnapshotsUnderTest } from './snapshotter/session.ts'
import { treeCases } from './snapshotter/trees.ts'
import { usageCases } from './snapshotter/usage.ts'

export type { SnapshotsUnderTest } from './snapshotter/session.ts'

/**
 * What every snapshot driver must do, asked through the snapshots service, with real mounts. Call it from a test file:
 *
 *     snapshotterSuite('overlayfs', async () => ({ service, snapshotter: 'overlayfs', ... }))
 *
 * Each case has a namespace of its own. It needs root, and a service whose drivers are on this machine.
 */
export function snapshotterSuite(name: string, start: () => Promise<SnapshotsUnderTest>): void {
  describe(`snapshot driver: ${name}`, () => {
    let tested: SnapshotsUnderTest
    let session: Session
    let made = 0

    beforeAll(async () => {
      tested = await start()
    })
    afterAll(async () => {
      await tested?.[Symbol.asyncDispose]()
    })
    beforeEach(() => {
      session = new Session(tested, `suite-${++made}`)
    })

    const current = () => session
    describe('life of a snapshot', () => lifeCases(current))
    describe('what is in it', () => treeCases(current))
    describe('usage', () => usageCases(current))
    describe('at the same time', () => raceCases(current))
  })
}
