import { readFile, writeFile } from 'node:fs/promises'
import { tempWorld, until } from '@flotilla/testing'
import { afterAll, expect, it } from 'vitest'
import { type Fixture, makeFixture } from '../harness/fixture.ts'
import { endSharedImage } from '../harness/shared-image.ts'
import { startStandalone } from '../harness/standalone.ts'
import { debian12, versions } from '../harness/versions.ts'

const label = (name: string, value: string) => `containerd.io/restart.${name}=${value}`

/** Starts a detached container that wants to run, with more restart labels. */
async function run({ ctr }: Fixture, image: string, id: string, labels: readonly string[], ...args: string[]) {
  const flags = [label('status', 'running'), ...labels].flatMap((text) => ['--label', text])
  await ctr('run', '-d', ...flags, image, id, ...args)
}

async function countOf({ ctr }: Fixture, id: string): Promise<number> {
  const { Labels } = JSON.parse(await ctr('containers', 'info', id)) as { Labels: Record<string, string> }
  return Number(Labels['containerd.io/restart.count'] ?? 0)
}

const taskOf = async ({ ctr }: Fixture, id: string) =>
  (await ctr('tasks', 'ls'))
    .split('\n')
    .map((line) => line.split(/\s+/))
    .find(([name]) => name === id)

const leaveAlone = ({ ctr }: Fixture, id: string) => ctr('containers', 'label', id, 'containerd.io/restart.status=')

afterAll(endSharedImage)

it('keeps containers in the state that their labels ask for', { timeout: 120_000 }, async () => {
  await using world = await tempWorld({ tmpfs: true, name: 'e2e' })
  const config = world.join('flotilla.toml')
  await writeFile(config, '[restart]\ninterval_ms = 200\n')
  await using system = await startStandalone(world, ['--config', config])
  await using own = await tempWorld({ name: 'e2e-test' })
  const version = versions.find(({ name, present }) => name === '2.1' && present) ?? debian12
  const fixture = await makeFixture(system, version, own)
  const { ctr } = fixture
  expect(await ctr('plugins', 'ls', '-d', 'id==restart')).toMatch(/always/)

  const image = await fixture.pull()
  const log = world.join('clock.log')
  // Ends and is started again, for ever: how often is how others can tell that a look has passed.
  await run(fixture, image, 'clock', [label('policy', 'always'), label('loguri', `file://${log}`)], 'echo', 'tick')
  const looks = async (more: number) => {
    const wanted = (await countOf(fixture, 'clock')) + more
    await until(`the clock to reach ${wanted}`, async () => (await countOf(fixture, 'clock')) >= wanted, {
      timeout: 60_000,
    })
  }
  await looks(2)
  await until('the log of the restarts', async () => (await readFile(log, 'utf8')).includes('tick\ntick\n'))

  await run(fixture, image, 'fails', [label('policy', 'on-failure:2')], 'sh', '-c', 'exit 3')
  await run(fixture, image, 'ends', [label('policy', 'on-failure')], 'true')
  await run(fixture, image, 'not', [label('policy', 'no')], 'false')
  await until('both retries', async () => (await countOf(fixture, 'fails')) === 2)
  await looks(3)
  for (const [id, count] of [
    ['fails', 2],
    ['ends', 0],
    ['not', 0],
  ] as const) {
    expect(await countOf(fixture, id), id).toBe(count)
    expect((await taskOf(fixture, id))?.[2], id).toBe('STOPPED')
  }

  await run(fixture, image, 'guest', [label('policy', 'always')], 'sleep', '1000')
  await ctr('containers', 'label', 'guest', label('explicitly-stopped', 'true'))
  await ctr('tasks', 'kill', '-s', '9', 'guest')
  await looks(3)
  expect((await taskOf(fixture, 'guest'))?.[2]).toBe('STOPPED')
  expect(await countOf(fixture, 'guest')).toBe(0)

  await run(fixture, image, 'server', [label('policy', 'unless-stopped')], 'sleep', '1000')
  const first = await taskOf(fixture, 'server')
  // It dies while nobody looks, and we were killed.
  await system.kill()
  process.kill(Number(first?.[1]), 'SIGKILL')
  await system.start()
  await until('the server to run again', async () => {
    const now = await taskOf(fixture, 'server')
    return now?.[2] === 'RUNNING' && now[1] !== first?.[1]
  })
  expect(await countOf(fixture, 'server')).toBe(1)
  await until('the guest to run with the daemon', async () => (await taskOf(fixture, 'guest'))?.[2] === 'RUNNING')

  await ctr('containers', 'label', 'server', label('explicitly-stopped', 'true'))
  await ctr('tasks', 'kill', '-s', '9', 'server')
  await looks(3)
  expect((await taskOf(fixture, 'server'))?.[2]).toBe('STOPPED')
  expect(await countOf(fixture, 'server')).toBe(1)

  await run(fixture, image, 'unwanted', [label('policy', 'always')], 'sleep', '1000')
  await ctr('containers', 'label', 'unwanted', label('status', 'stopped'))
  await until('the unwanted task to go', async () => (await taskOf(fixture, 'unwanted')) === undefined)
  for (const id of ['clock', 'fails', 'ends', 'not', 'guest', 'server', 'unwanted']) await leaveAlone(fixture, id)
  await fixture.finish()
})
