import { globSync } from 'node:fs'
import { join } from 'node:path'
import { tempWorld } from '@flotilla/testing'
import { inject } from 'vitest'
import type { TestProject } from 'vitest/node'
import { removeEmptyGroups, topGroups } from './cgroups.ts'
import { nothingMentions } from './leftovers.ts'
import { type System, type SystemKind, startSystem } from './system.ts'
import { type Version, versions } from './versions.ts'

/** What a test file is told of a system that all files of a run share; it can be passed between processes. */
interface Known {
  readonly kind: SystemKind
  readonly address: string
  readonly root: string
  readonly state: string
  /** The directory of its world. */
  readonly home: string
}

declare module 'vitest' {
  interface ProvidedContext {
    /** By version of containerd; those of ours are one and the same. */
    systems: Record<string, Known>
  }
}

/**
 * Vitest's global set-up for one project: starts what is under test once for all files that only talk to it. Every test
 * has a namespace of its own, so they do not meet.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const kind = project.name as SystemKind
  const stack = new AsyncDisposableStack()
  const homes: string[] = []
  const groups = topGroups()

  async function start(version: Version): Promise<Known> {
    const world = stack.use(await tempWorld({ tmpfs: true, name: 'e2e-shared' }))
    homes.push(world.path)
    const { address, root, state } = stack.use(await startSystem(world, version, kind))
    return { kind, address, root, state, home: world.path }
  }

  try {
    const known: Record<string, Known> = {}
    let ours: Known | undefined
    for (const version of versions.filter(({ present }) => present)) {
      if (kind === 'containerd') known[version.name] = await start(version)
      else {
        ours ??= await start(version)
        known[version.name] = ours
      }
    }
    project.provide('systems', known)
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
  return async () => {
    await stack.disposeAsync()
    for (const home of homes) await nothingMentions(home)
    // Of namespaces that tests share, such as `default`.
    for (const group of topGroups()) if (!groups.has(group)) removeEmptyGroups(group)
  }
}

/** The shared system for a version of `ctr`, as a test file sees it: it may be talked to and not be stopped. */
export function sharedSystem(version: Version): System {
  const known = inject('systems')[version.name]
  if (known === undefined) throw new Error(`no shared system for ctr ${version.name}`)
  const untouchable = async () => {
    throw new Error('other test files use this system; start one of your own to stop it')
  }
  return {
    ...known,
    get logs() {
      return globSync('{*.log,state/services/log/*.log}', { cwd: known.home }).map((log) => join(known.home, log))
    },
    processes: untouchable,
    kill: untouchable,
    start: untouchable,
    stop: untouchable,
    [Symbol.asyncDispose]: untouchable,
  }
}
