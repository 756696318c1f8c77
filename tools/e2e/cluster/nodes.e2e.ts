import { randomBytes } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { SnapshotRemove, TaskExit } from '@flotilla/api/containerd/events/events'
import type { Entry } from '@flotilla/api/flotilla/events/v1/events'
import { toMillis } from '@flotilla/metadata'
import { buildImage, until } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { finish, startProgram } from '../harness/program.ts'
import { repository } from '../harness/versions.ts'
import { type Cluster, fetchesOf, startCluster } from './cluster.ts'

/** The exits that events tell of, each with where it happened and what with. */
const exitsOf = (entries: readonly Entry[]) =>
  entries
    .filter(({ envelope }) => envelope?.topic === '/tasks/exit')
    .map(({ envelope, node }) => {
      const { containerId, exitedAt, exitStatus } = TaskExit.decode(envelope?.event?.value ?? Buffer.alloc(0))
      return { container: containerId, status: exitStatus, node, at: exitedAt === undefined ? 0 : toMillis(exitedAt) }
    })

describe('nodes that come and go', () => {
  let cluster: Cluster
  let reference: string
  beforeAll(async () => {
    cluster = await startCluster()
    reference = cluster.registry.add('library/box:1', await buildImage({ index: true }))
    await cluster.ctr('a', 'images', 'pull', '--plain-http', reference)
    for (const node of ['b', 'c']) await cluster.ctr(node, 'run', '--rm', reference, `first-${node}`, 'true')
  })
  afterAll(() => cluster[Symbol.asyncDispose]())

  const lines = async (node: string, ...args: string[]) => (await cluster.ctr(node, ...args)).trim().split('\n')
  const ctr: Cluster['ctr'] = (...args) => cluster.ctr(...args)

  it('killed while it pulls and runs: its containers stay listed; back again, exits are told and the pull goes on', async () => {
    const size = 12 * 1024 * 1024
    const image = await buildImage({ scratch: true, layers: [[{ name: 'noise', content: randomBytes(size) }]] })
    const slow = cluster.registry.add('library/slow:1', image)
    const goOn = cluster.registry.fault({ path: /blobs/, method: 'GET', fault: { kind: 'stall', after: size / 2 } })
    const pull = cluster.start('b', ['images', 'pull', '--plain-http', slow])
    await ctr('b', 'run', '-d', reference, 'lasting', 'sleep', '100000')
    await ctr('b', 'run', '-d', reference, 'ending', 'sh', '-c', 'until [ -e /go ]; do sleep 0.1; done; exit 7')
    await until('the layer to be asked for', () => fetchesOf(cluster.registry).get(image.layers[0]?.digest ?? '') === 1)
    const seen = (await cluster.events('a', 0)).at(-1)?.sequence ?? 0

    await cluster.tell('kill', 'b')
    pull.child.kill()
    await cluster.sees('a', 'b', false, 10_000)
    expect(await lines('a', 'containers', 'ls', '-q')).toEqual(['ending', 'lasting'])
    expect(await lines('c', 'tasks', 'ls')).toEqual([
      expect.stringContaining('TASK'),
      expect.stringMatching(/^ending .*UNKNOWN$/),
      expect.stringMatching(/^lasting .*UNKNOWN$/),
    ])
    const told = await cluster.run('a', ['tasks', 'kill', 'lasting'])
    expect([told.code, told.stderr]).toEqual([1, expect.stringContaining('node "b"')])
    // Nobody but its shim is there to see the end of this one.
    const [pid] =
      /\d+/.exec(
        readFileSync(join(cluster.dir, 'b/state/io.containerd.runtime.v2.task/e2e-cluster/ending/init.pid'), 'utf8'),
      ) ?? []
    process.kill(Number(pid), 'SIGKILL')

    await cluster.tell('start', 'b')
    await cluster.sees('a', 'b', true, 5_000)
    await until('the exit to be told', async () => exitsOf(await cluster.events('c', seen + 1)).length > 0)
    expect(exitsOf(await cluster.events('c', seen + 1))).toEqual([
      { container: 'ending', status: 137, node: 'b', at: expect.any(Number) },
    ])
    expect(await ctr('a', 'tasks', 'ls')).toMatch(/^ending +\d+ +STOPPED\nlasting +\d+ +RUNNING$/m)
    goOn()
    await ctr('b', 'images', 'pull', '--plain-http', slow)
    expect(await ctr('c', 'images', 'check', `name==${slow}`)).toMatch(/complete \(2\/2\)/)
    await ctr('a', 'tasks', 'kill', '-s', 'KILL', 'lasting')
    await until('lasting to stop', async () => /^lasting .*STOPPED$/m.test(await ctr('a', 'tasks', 'ls')))
    await ctr('a', 'tasks', 'rm', 'lasting', 'ending')
    await ctr('a', 'containers', 'rm', 'lasting', 'ending')
  })

  it('a second machine with a name in use is refused, and says why', async () => {
    const plan = JSON.parse(readFileSync(join(cluster.dir, 'cluster.json'), 'utf8')) as { password: string }
    const own = (name: string) => join(cluster.dir, 'a', 'second', name)
    const flags = {
      root: own('root'),
      state: own('state'),
      address: own('sock'),
      'node-name': 'b',
      redis: `redis://:${plan.password}@${cluster.gateway}:6379`,
      nats: `nats://flotilla:${plan.password}@${cluster.gateway}:4222`,
    }
    const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value])
    const second = startProgram('standalone', join(repository, 'tools/standalone'), { args })
    const { code, stderr } = await finish(second, { args }, undefined)
    expect(stderr).toMatch(/node name "b" is in use by another machine \(host ".+", which answers\): choose another/)
    expect(code).toBe(1)
    await cluster.sees('a', 'b', true, 1_000)
  })

  it('a cordoned node gets nothing by itself but what it is named for; drained, its tasks end', async () => {
    for (const node of ['a', 'c'])
      expect((await cluster.flotilla(['nodes', 'cordon', node])).stdout).toBe(`node ${node} is cordoned\n`)
    const run = (name: string, ...options: string[]) =>
      cluster.flotilla(['run', '-d', '--name', name, ...options, reference, 'sleep', '100000'])
    const nodes = async () => {
      const { stdout } = await cluster.flotilla(['ps', '--all', '-o', 'json'])
      return Object.fromEntries(
        (JSON.parse(stdout) as Array<{ id: string; node: string }>).map(({ id, node }) => [id, node]),
      )
    }
    for (const name of ['one', 'two', 'three']) expect(await run(name)).toMatchObject({ code: 0, stderr: '' })
    expect(await run('named', '--node', 'c')).toMatchObject({ code: 0, stderr: '' })
    expect(await nodes()).toEqual({ one: 'b', two: 'b', three: 'b', named: 'c' })

    const drained = await cluster.flotilla(['nodes', 'drain', '--grace-period', '1', 'b'])
    expect(drained).toMatchObject({ code: 0, stderr: '' })
    expect(
      drained.stdout
        .trim()
        .split('\n')
        .slice(-3)
        .map((line) => line.replace(/\w+ \(/, '('))
        .sort(),
    ).toEqual(['one (', 'three (', 'two ('].map((start) => expect.stringContaining(`e2e-cluster/${start}`)))
    expect(drained.stdout).toMatch(/\(0 left\)\n$/)
    expect(await ctr('a', 'tasks', 'ls')).toMatch(/^named .*RUNNING\none .*STOPPED\nthree .*STOPPED\ntwo .*STOPPED$/m)
    const nowhere = await run('nowhere')
    expect([nowhere.code, nowhere.stderr]).toEqual([125, expect.stringContaining('which cannot take it now')])
    for (const node of ['a', 'b', 'c']) await cluster.flotilla(['nodes', 'uncordon', node])
    expect(await cluster.flotilla(['rm', '-f', 'one', 'two', 'three', 'named'])).toMatchObject({ code: 0, stderr: '' })
  })

  it('one order of events, none missing and none twice, through a partition of the node that has them', async () => {
    const before = (await cluster.events('a', 0)).at(-1)?.sequence ?? 0
    await ctr('b', 'run', '-d', reference, 'apart', 'sh', '-c', 'until [ -e /go ]; do sleep 0.1; done; exit 9')
    await ctr('a', 'run', '--rm', reference, 'near', 'true')
    const half = await cluster.events('c', before + 1)
    const last = half.at(-1)?.sequence ?? 0
    await cluster.tell('partition', 'b')
    const pid = readFileSync(
      join(cluster.dir, 'b/state/io.containerd.runtime.v2.task/e2e-cluster/apart/init.pid'),
      'utf8',
    )
    const ended = Date.now()
    process.kill(Number(pid), 'SIGKILL')
    try {
      await ctr('a', 'run', '--rm', reference, 'meanwhile', 'true')
      await cluster.sees('a', 'b', false, 10_000)
    } finally {
      await cluster.tell('heal', 'b')
    }
    await until('the exit to be told', async () =>
      exitsOf(await cluster.events('c', last + 1)).some(({ container }) => container === 'apart'),
    )
    const rest = await cluster.events('c', last + 1)
    const all = [...half, ...rest]
    expect(all.map(({ sequence }) => sequence)).toEqual(all.map((_, index) => before + 1 + index))
    expect(exitsOf(all).map(({ container, node, status }) => [container, node, status])).toEqual([
      ['near', 'a', 0],
      ['meanwhile', 'a', 0],
      ['apart', 'b', 137],
    ])
    // Told late, with the time at which it happened.
    expect(Math.abs((exitsOf(rest).at(-1)?.at ?? 0) - ended)).toBeLessThan(1_000)
    await until('b to have its stores again', () => cluster.events('b', last).then(() => true))
    for (const node of ['a', 'b']) {
      const again = await cluster.events(node, before + 1)
      expect(again.slice(0, all.length)).toEqual(all)
    }
    const replayed = await cluster.flotilla([
      'events',
      '--no-follow',
      '--from-sequence',
      String(before + 1),
      '--node',
      'b',
      '-o',
      'json',
    ])
    const mine = JSON.parse(`[${replayed.stdout.trim().replaceAll('\n', ',')}]`) as Array<{
      node: string
      topic: string
    }>
    expect(new Set(mine.map(({ node }) => node))).toEqual(new Set(['b']))
    expect(mine.at(-1)?.topic).toBe('/tasks/exit')
  })

  it('removed: its snapshots and tasks are no more, its containers can go; the machine gets in again with an emptied root', async () => {
    await ctr('c', 'containers', 'create', reference, 'left', 'sleep', '100000')
    const early = await cluster.flotilla(['nodes', 'remove', 'c'])
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining('node "c" is ready')])

    await cluster.tell('kill', 'c')
    await cluster.sees('a', 'c', false, 10_000)
    const seen = (await cluster.events('a', 0)).at(-1)?.sequence ?? 0
    expect(await cluster.flotilla(['nodes', 'remove', 'c'])).toMatchObject({ code: 0, stderr: '' })
    expect((await cluster.flotilla(['nodes', '-o', 'json'])).stdout).not.toContain('"c"')
    const removed = (await cluster.events('b', seen + 1)).flatMap(({ envelope }) =>
      envelope?.topic === '/snapshot/remove'
        ? [SnapshotRemove.decode(envelope.event?.value ?? Buffer.alloc(0)).key]
        : [],
    )
    // The image's layer too.
    expect(removed.toSorted()).toEqual(['left', expect.stringMatching(/^sha256:/)])

    expect(await lines('a', 'containers', 'ls', '-q')).toContain('left')
    const told = await cluster.run('a', ['tasks', 'kill', 'left'])
    expect([told.code, told.stderr]).toEqual([1, expect.stringContaining('node "c", which had it, was removed')])
    await ctr('a', 'containers', 'rm', 'left')

    await expect(cluster.tell('start', 'c')).rejects.toThrow(
      /removed from the cluster.*empty .*\/c\/root to join again/,
    )
    rmSync(join(cluster.dir, 'c/root'), { recursive: true })
    await cluster.tell('start', 'c')
    await cluster.sees('a', 'c', true, 5_000)
    expect(await ctr('c', 'run', '--rm', reference, 'anew', 'echo', 'anew')).toBe('anew\n')
  })
})
