import { type TempWorld, tempWorld } from '@flotilla/testing'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { type Fixture, makeFixture } from './fixture.ts'
import { keepLogs } from './kept-logs.ts'
import { nothingMentions } from './leftovers.ts'
import { noResidue } from './residue.ts'
import { endSharedImage } from './shared-image.ts'
import { sharedSystem } from './shared-systems.ts'
import { type System, startSystem, underTest } from './system.ts'
import { type Version, versions } from './versions.ts'

export interface Suite {
  readonly version: Version
  readonly system: () => System
  /**
   * One behaviour, within `timeout` milliseconds. The test's namespace is emptied afterwards, and nothing of it may be
   * left on the machine, in a shared system of ours no byte on its disk.
   */
  test(name: string, body: (fixture: Fixture) => Promise<void>, timeout?: number): void
}

export interface SuiteOptions {
  /** Which versions of `ctr`; all unless given. */
  readonly versions?: readonly Version['name'][]
  /** Talk to the system that others of this run talk to as well, instead of starting one: for tests that stop nothing. */
  readonly shared?: boolean
}

/**
 * A group of tests for each version of `ctr`, with a system under test of its own or a shared one. A version that is not
 * on this machine is shown as skipped. Separate services are asked by the newest only, unless FLOTILLA_ALL_CLIENTS is
 * set: where a service runs is nothing that one client could see and another not.
 */
export function suite(title: string, define: (suite: Suite) => void, options: SuiteOptions = {}): void {
  const fitting = versions.filter(({ name }) => options.versions?.includes(name) ?? true)
  const newest = fitting.findLast(({ present }) => present)
  const onlyNewest = underTest === 'services' && !process.env.FLOTILLA_ALL_CLIENTS && newest !== undefined
  const chosen = onlyNewest ? [newest] : fitting
  for (const version of chosen) {
    describe.skipIf(!version.present)(`${title}, ctr ${version.name}`, () => {
      let world: TempWorld | undefined
      let system: System | undefined
      const running = () => {
        if (system === undefined) throw new Error('no system runs yet')
        return system
      }
      beforeAll(async () => {
        if (options.shared) {
          system = sharedSystem(version)
          return
        }
        world = await tempWorld({ tmpfs: true, name: 'e2e' })
        system = await startSystem(world, version)
      })
      afterAll(async () => {
        await endSharedImage()
        if (world === undefined) return
        await system?.[Symbol.asyncDispose]()
        await world[Symbol.asyncDispose]()
        await nothingMentions(world.path)
      })
      define({
        version,
        system: running,
        test(name, body, timeout) {
          it(
            name,
            async () => {
              await using own = await tempWorld({ name: 'e2e-test' })
              const fixture = await makeFixture(running(), version, own)
              // containerd itself leaves some of it to a later collection.
              const isOurs = running().kind !== 'containerd'
              const emptied = options.shared && isOurs ? noResidue(running()) : async () => {}
              try {
                await body(fixture)
              } catch (error) {
                keepLogs(running(), name, options.shared ? [fixture.namespace] : undefined)
                // The first error is the one to show.
                await fixture.finish().catch(() => {})
                throw error
              }
              await fixture.finish()
              await emptied()
            },
            timeout,
          )
        },
      })
    })
  }
}
