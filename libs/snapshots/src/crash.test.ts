import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import { unmountAll, withTempMount } from '@flotilla/linux'
import { snapshotTable } from '@flotilla/metadata'
import { makeCall, status } from '@flotilla/rpc'
import type { DriverKind } from '@flotilla/snapshot-driver'
import { devmapper } from '@flotilla/snapshotter-devmapper'
import { native } from '@flotilla/snapshotter-native'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { hasThinPools, startRedis, startThinPool, type TempWorld, tempWorld, until } from '@flotilla/testing'
import { expect, test } from 'vitest'
import { devmapperOptions } from './testing/devmapper.ts'
import { node, openSnapshots, type TestSnapshots, type Where } from './testing/fixture.ts'

const program = fileURLToPath(new URL('./testing/crash-child.ts', import.meta.url))
const rounds = 15
const call = makeCall({ namespace: 'crash' })

/** Runs the child and kills it at most `longest` milliseconds after its first acknowledgement; what it said. */
async function runAndKill(driver: string, { root, redis }: Where, prefix: string, longest: number): Promise<string[]> {
  const child = spawn(process.execPath, [program, driver, root, redis, prefix], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    said += text
  })
  const gone = once(child, 'close')
  await until('the first acknowledgement', () => said.includes('!'), {
    every: 2,
    // An emulated machine takes long to start a program.
    timeout: 120_000,
    dead: () => (child.exitCode === null ? undefined : `the child exited with ${child.exitCode}`),
  })
  await sleep(Math.random() * longest)
  child.kill('SIGKILL')
  await gone
  return said.split('\n').filter((line) => /^[?!] /.test(line))
}

/** What must be there and what must not, after what was said. What was only begun may be either. */
function expected(lines: readonly string[]) {
  const active = new Set<string>()
  const committed = new Set<string>()
  const gone = new Set<string>()
  for (const line of lines) {
    const [mark, what, key = '', name = ''] = line.split(' ')
    if (what === 'prepared') active.add(key)
    if (what === 'committed' && mark === '?') active.delete(key)
    if (what === 'committed' && mark === '!') committed.add(name)
    if (what === 'committed' && mark === '!') gone.add(key)
    if (what === 'removed' && mark === '?') for (const set of [active, committed]) set.delete(key)
    if (what === 'removed' && mark === '!') gone.add(key)
  }
  return { active, committed, gone }
}

/** The driver's directories that no record names, after the collection. */
async function superfluous({ service, snapshotter, directories, metadata }: TestSnapshots): Promise<string[]> {
  const rows = await metadata.all('crash', snapshotTable(node, snapshotter))
  const ids = new Set(rows.map(([, bytes]) => Snapshot.decode(bytes).id))
  let listed = 0
  for await (const { info } of service.list({ snapshotter, filters: [] }, call)) listed += info.length
  expect(listed).toBe(rows.length)
  return (await directories()).filter((name) => !ids.has(name))
}

/** The parent of all others: enough files that a copy of it takes a moment. */
async function makeBase(kind: DriverKind, where: Where): Promise<void> {
  await using opened = await openSnapshots(kind, where)
  const { service, snapshotter } = opened
  const { mounts } = await service.prepare({ snapshotter, key: 'k', parent: '', labels: {} }, call)
  await withTempMount(mounts, {}, async (root) => {
    mkdirSync(`${root}/many`)
    for (let index = 0; index < 300; index++) writeFileSync(`${root}/many/${index}`, '')
  })
  await service.commit({ snapshotter, name: 'base', key: 'k', labels: {}, parent: '' }, call)
}

/** Kills children that work with a driver, which they know as `driver`, and looks at what they leave. */
async function killAndLook(kind: DriverKind, driver: string, world: TempWorld, longest = 250): Promise<Where> {
  const redis = world.own(await startRedis({ relaxed: true }))
  const where = { root: world.join('root'), redis: redis.url }
  await makeBase(kind, where)
  const lines: string[] = []
  for (let round = 0; round < rounds; round++) {
    lines.push(...(await runAndKill(driver, where, `r${round}`, longest)))
    // What a child had mounted itself.
    await unmountAll(where.root)
  }
  const { active, committed, gone } = expected(lines)
  expect(committed.size).toBeGreaterThan(0)

  await using after = await openSnapshots(kind, where)
  const { snapshotter } = after
  await after.collect()
  // Half-made directories are cleared away in the background.
  await until('no superfluous directory', async () => (await superfluous(after)).length === 0, { timeout: 10_000 })
  for (const key of gone)
    await expect(after.service.stat({ snapshotter, key }, call)).rejects.toMatchObject({ code: status.NOT_FOUND })
  for (const key of active) {
    const { mounts } = await after.service.mounts({ snapshotter, key }, call)
    await withTempMount(mounts, {}, async (root) => expect(readdirSync(`${root}/many`).length).toBe(300))
  }
  for (const name of committed) {
    const key = name.replace('name-', 'key-')
    const view = { snapshotter, key: `view of ${name}`, parent: name, labels: {} }
    const { mounts } = await after.service.view(view, call)
    await withTempMount(mounts, {}, async (root) => {
      expect(readFileSync(`${root}/${key}`, 'utf8')).toBe(key)
      expect(readdirSync(`${root}/many`).length).toBe(300)
    })
  }
  return where
}

test.each([overlayfs(), native()])(
  `$name: killed ${rounds} times, it loses nothing acknowledged and keeps no directory without a record`,
  { timeout: 180_000 },
  async (kind) => {
    await using world = await tempWorld({ name: 'crash', tmpfs: true })
    await killAndLook(kind, kind.name, world)
  },
)

// Needs the kernel's device mapper with thin pools, dmsetup and loop devices: see tools/virtual-machine.
test.skipIf(!hasThinPools())(
  `devmapper: killed ${rounds} times, it loses nothing acknowledged and the pool has no device without a record`,
  { timeout: 1_800_000 },
  async () => {
    await using world = await tempWorld({ name: 'crash' })
    const pool = await startThinPool(world)
    const kind = devmapper(devmapperOptions(pool.name))
    // Emulated, a step takes seconds.
    const { root } = await killAndLook(kind, `devmapper:${pool.name}`, world, 8000)
    const own = `${root}/io.containerd.snapshotter.v1.devmapper`
    const recorded = readdirSync(`${own}/snapshots`).map(
      (id) => JSON.parse(readFileSync(`${own}/snapshots/${id}/device`, 'utf8')).thin,
    )
    const highest = Number(readFileSync(`${own}/last-id`, 'utf8'))
    expect(await pool.devices(highest)).toEqual(recorded.sort((one, other) => one - other))
  },
)
