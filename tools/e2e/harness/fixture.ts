import { randomBytes } from 'node:crypto'
import { leftBehind, nothing, systemSnapshot, type TempWorld, until } from '@flotilla/testing'
import { removeEmptyGroups } from './cgroups.ts'
import { type CtrInvocation, type CtrResult, type RunningCtr, runCtr, startCtr } from './ctr.ts'
import { sharedImage } from './shared-image.ts'
import type { System } from './system.ts'
import type { Version } from './versions.ts'

type Extras = Partial<Pick<CtrInvocation, 'namespace' | 'terminal' | 'env'>> & { readonly input?: string | Buffer }

/** What one test has: a namespace of its own in the system under test, and a `ctr` that speaks to it. */
export interface Fixture {
  readonly system: System
  readonly version: Version
  readonly world: TempWorld
  readonly namespace: string
  /** Runs ctr and gives what came, whatever it was. */
  run(args: readonly string[], extras?: Extras): Promise<CtrResult>
  /** Runs ctr, wants success, gives its standard output. */
  ctr(...args: string[]): Promise<string>
  /** Runs ctr, wants failure, gives its standard error. */
  refused(...args: string[]): Promise<string>
  /** Starts ctr and goes on. */
  start(args: readonly string[], extras?: Extras): RunningCtr
  /** Pulls an image (the small busybox one unless named) and gives its reference. */
  pull(reference?: string): Promise<string>
  /** `images pull` or `push` with what this version needs in order not to use the transfer service. */
  local(verb: 'pull' | 'push', ...args: string[]): string[]
  /** Removes all that is in the namespace, then the namespace; and throws if a process, mount, cgroup or network namespace is left. */
  finish(): Promise<void>
}

export async function makeFixture(system: System, version: Version, world: TempWorld): Promise<Fixture> {
  const namespace = `e2e-${randomBytes(5).toString('hex')}`
  const options = { address: system.address, version, namespace }
  const run: Fixture['run'] = (args, extras = {}) => runCtr({ ...options, ...extras, args })
  const fixture: Fixture = {
    system,
    version,
    world,
    namespace,
    run,
    async ctr(...args) {
      const { code, stdout, stderr } = await run(args)
      if (code !== 0) throw new Error(`ctr ${args.join(' ')} ended with ${code}: ${inShort(stderr + stdout)}`)
      return stdout
    },
    async refused(...args) {
      const { code, stdout, stderr } = await run(args)
      if (code === 0) throw new Error(`ctr ${args.join(' ')} should fail, but printed: ${inShort(stdout + stderr)}`)
      return stderr
    },
    start: (args, extras = {}) => startCtr({ ...options, ...extras, args }),
    async pull(reference) {
      const name = reference ?? (await sharedImage()).reference
      await fixture.ctr(...fixture.local('pull', '--plain-http', name))
      return name
    },
    local: (verb, ...args) => ['images', verb, ...(version.name === '2.1' ? ['--local'] : []), ...args],
    finish: () => finish(fixture),
  }
  return fixture
}

/** Enough of a long output to see what it is. */
const inShort = (text: string) => (text.length < 2_000 ? text : `${text.slice(0, 2_000)} … (${text.length} characters)`)

const lines = (text: string) => text.split('\n').filter((line) => line !== '')

async function finish({ ctr, run, namespace }: Fixture): Promise<void> {
  for (const id of lines((await run(['tasks', 'ls', '-q'])).stdout)) await run(['tasks', 'rm', '--force', id])
  for (const id of lines((await run(['containers', 'ls', '-q'])).stdout)) await run(['containers', 'rm', id])
  for (const lease of lines((await run(['leases', 'ls', '-q'])).stdout)) await run(['leases', 'rm', lease])
  const images = lines((await run(['images', 'ls', '-q'])).stdout)
  for (const snapshotter of ['overlayfs', 'native']) await removeSnapshots(run, snapshotter)
  if (images.length > 0) await ctr('images', 'rm', '--sync', ...images)
  await removeContent(run)
  // Collects what went with the commands above; containerd, too, leaves directories of snapshots to its collector.
  await run(['leases', 'create', '--id', 'swept'])
  await ctr('leases', 'rm', '--sync', 'swept')
  await run(['namespaces', 'rm', namespace])
  await noLeak(namespace)
}

/** Children first, so again and again until none goes any more. */
async function removeSnapshots(run: Fixture['run'], snapshotter: string): Promise<void> {
  for (;;) {
    const listed = lines((await run(['snapshots', '--snapshotter', snapshotter, 'ls'])).stdout).slice(1)
    const keys = listed.map((line) => line.split(/\s+/)[0] ?? '')
    let removed = 0
    for (const key of keys)
      if ((await run(['snapshots', '--snapshotter', snapshotter, 'rm', key])).code === 0) removed++
    if (removed === 0) return
  }
}

async function removeContent(run: Fixture['run']): Promise<void> {
  for (const digest of lines((await run(['content', 'ls', '-q'])).stdout)) await run(['content', 'rm', digest])
}

/** A shim may need a moment to go after its task was deleted. */
async function noLeak(namespace: string): Promise<void> {
  const mentions = [namespace]
  await until(`nothing of namespace ${namespace} to be left`, async () => {
    removeEmptyGroups(namespace)
    const left = leftBehind(nothing, await systemSnapshot({ mentions }))
    const rest = Object.values(left).flat()
    if (rest.length > 0) throw new Error(`left behind:\n${rest.join('\n')}`)
    return true
  })
}
