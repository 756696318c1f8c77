import { copyFileSync, mkdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { leftBehind, nothing, systemSnapshot, type TempWorld, tailOf, tempWorld, until } from '@flotilla/testing'
import { afterAll, afterEach, beforeAll, describe, it } from 'vitest'
import { type Fixture, makeFixture } from './fixture.ts'
import { endSharedImage } from './shared-image.ts'
import { type System, startSystem, underTest } from './system.ts'
import { repository, type Version, versions } from './versions.ts'

export interface Suite {
  readonly version: Version
  readonly system: () => System
  /** One behaviour, within `timeout` milliseconds; the test's namespace is emptied afterwards and nothing of it may be left on the machine. */
  test(name: string, body: (fixture: Fixture) => Promise<void>, timeout?: number): void
}

/**
 * A group of tests for each version of `ctr`, each with a system under test of its own. A version that is not on this
 * machine is shown as skipped.
 */
export function suite(
  title: string,
  define: (suite: Suite) => void,
  options: { readonly versions?: readonly Version['name'][] } = {},
): void {
  const chosen = versions.filter(({ name }) => options.versions?.includes(name) ?? true)
  for (const version of chosen) {
    describe.skipIf(!version.present)(`${title}, ctr ${version.name}`, () => {
      let world: TempWorld | undefined
      let system: System | undefined
      const running = () => {
        if (system === undefined) throw new Error('no system runs yet')
        return system
      }
      beforeAll(async () => {
        world = await tempWorld({ tmpfs: true, name: 'e2e' })
        system = await startSystem(world, version)
      })
      afterEach((context) => {
        if (context.task.result?.state === 'fail' && system !== undefined) keepLogs(system, context.task.name)
      })
      afterAll(async () => {
        const path = world?.path
        await system?.[Symbol.asyncDispose]()
        await world?.[Symbol.asyncDispose]()
        await endSharedImage()
        if (path !== undefined) await nothingMentions(path)
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
              let failed = true
              try {
                await body(fixture)
                failed = false
              } finally {
                // The first error is the one to show.
                await fixture.finish().catch((error: unknown) => {
                  if (!failed) throw error
                })
              }
            },
            timeout,
          )
        },
      })
    })
  }
}

/** Copies a system's logs out of its world, which will go, and says where they are. */
function keepLogs(system: System, test: string): void {
  const home = join(repository, '.work/logs')
  mkdirSync(home, { recursive: true })
  const prefix = `${test.replace(/[^a-z0-9]+/gi, '-').slice(0, 60)}-${Date.now()}`
  for (const log of system.logs) {
    const copy = join(home, `${prefix}-${underTest}-${basename(log)}`)
    try {
      copyFileSync(log, copy)
      console.error(`log of the failed test "${test}": ${copy}\n${tailOf(log, 5)}`)
    } catch (error) {
      console.error(`log of the failed test "${test}" could not be kept: ${error}`)
    }
  }
}

async function nothingMentions(path: string): Promise<void> {
  await until(`nothing of ${path} to be left`, async () => {
    const { mounts, processes } = leftBehind(nothing, await systemSnapshot({ mentions: [path] }))
    const rest = [...mounts, ...processes]
    if (rest.length > 0) throw new Error(`left behind:\n${rest.join('\n')}`)
    return true
  })
}
