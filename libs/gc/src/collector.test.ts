import { setTimeout as sleep } from 'node:timers/promises'
import { SweepResponse } from '@flotilla/api/flotilla/content/v1/content'
import {
  childrenTable,
  createMetadata,
  keyOf,
  type Metadata,
  snapshotTable,
  tables,
  trashTable,
} from '@flotilla/metadata'
import { hasCode, internal, makeCall, nodeAway, status, unavailable } from '@flotilla/rpc'
import { startRedis, until } from '@flotilla/testing'
import { beforeEach, describe, expect, test } from 'vitest'
import { collectNamespace } from './collect-namespace.ts'
import { type CollectorDeps, createCollector } from './collector.ts'
import { Cycle } from './cycle.ts'
import { contentTrashTable } from './removal.ts'
import { RunLost } from './run.ts'
import { intervalAfter, Schedule } from './schedule.ts'
import { withStore } from './testing/store.ts'
import { digestNumber, World } from './testing/world.ts'

let url: string
let metadata: Metadata
let made = 0
let namespace: string
let world: World

withStore((store, address) => {
  metadata = store
  url = address
})

beforeEach(async () => {
  await metadata.redis.flushall()
  namespace = `ns-${++made}`
  world = new World(metadata, namespace)
})

/** What the nodes of a cluster are asked to do, and how they answer. */
class Nodes {
  readonly names: string[]
  readonly sweeps: Array<{ node: string; digests: string[] }> = []
  readonly ingestSweeps: string[] = []
  readonly removals: Array<{ node: string; snapshotter: string; ids: string[] }> = []
  /** Ids on disk by `NODE/SNAPSHOTTER`. */
  readonly directories = new Map<string, string[]>()
  /** Awaited by every request. */
  answer: (node: string) => Promise<void> = async () => {}

  constructor(...names: string[]) {
    this.names = names
  }

  get deps(): Pick<CollectorDeps, 'nodes' | 'content' | 'drivers'> {
    return {
      nodes: async () => this.names,
      content: (node) => ({
        sweep: async ({ digests, ingestsOnly }) => {
          await this.answer(node)
          if (ingestsOnly) this.ingestSweeps.push(node)
          if (ingestsOnly) return SweepResponse.fromPartial({})
          this.sweeps.push({ node, digests: [...digests].sort() })
          return SweepResponse.fromPartial({})
        },
      }),
      drivers: (node) => ({
        list: async () => {
          await this.answer(node)
          const names = [...this.directories.keys()].filter((store) => store.startsWith(`${node}/`))
          return {
            drivers: [
              ...names.map((store) => ({
                name: store.split('/')[1]!,
                root: '',
                capabilities: [],
                exports: {},
                unavailable: '',
                takesLabels: false,
              })),
              {
                name: 'devmapper',
                root: '',
                capabilities: [],
                exports: {},
                unavailable: 'not configured',
                takesLabels: false,
              },
            ],
          }
        },
        ids: async ({ snapshotter }) => {
          await this.answer(node)
          const ids = this.directories.get(`${node}/${snapshotter}`)
          if (ids === undefined) throw new Error(`${snapshotter} was not to be asked`)
          return { ids }
        },
        remove: async ({ snapshotter, ids }) => {
          await this.answer(node)
          this.removals.push({ node, snapshotter, ids: [...ids].sort() })
          return {}
        },
      }),
    }
  }
}

const never = {
  startupDelay: 3_600_000,
  pauseThreshold: 0.02,
  deletionThreshold: 0,
  mutationThreshold: 100,
  scheduleDelay: 0,
}
const warnings: string[] = []
const logger = { debug: () => {}, warn: (_: object, message: string) => void warnings.push(message) }
const collectorOf = (nodes: Nodes, settings: Partial<typeof never> = {}, store = metadata) =>
  createCollector({ metadata: store, ...nodes.deps, settings: { ...never, ...settings }, logger })
const call = makeCall()

/** Changes so many records, all of which are gone afterwards. */
const change = (count: number) =>
  metadata.transact(namespace, {
    writes: Array.from({ length: count }, (_, n) => ({ op: 'delete', table: tables.images, field: `image ${n}` })),
  })
const nothing = { images: 0, content: 0, snapshots: 0, ingests: 0, leases: 0 }

describe('collect', () => {
  test('removes records, and from every node what they stood for', async () => {
    const nodes = new Nodes('n1', 'n2')
    await using collector = collectorOf(nodes)
    await collector.collect({}, call)
    nodes.sweeps.length = 0
    await world.content(digestNumber(1))
    await world.content(digestNumber(2), { 'containerd.io/gc.root': 'x' })
    await world.prepare('n1/overlayfs', 'a', '')
    await world.commit('n1/overlayfs', 'A', 'a')
    await world.prepare('n1/overlayfs', 'b', 'A')
    await world.prepare('n2/native', 'c', '')
    await world.ingest('r', Date.now() - 1)
    await world.lease('L', { 'containerd.io/gc.expire': '2001-01-01T00:00:00Z' })
    await world.image('i', digestNumber(2), { 'containerd.io/gc.expire': '2001-01-01T00:00:00Z' })
    expect(await collector.collect({}, call)).toEqual({ images: 1, content: 1, snapshots: 3, ingests: 1, leases: 1 })
    expect(nodes.sweeps).toEqual([
      { node: 'n1', digests: [digestNumber(1)] },
      { node: 'n2', digests: [digestNumber(1)] },
    ])
    expect(nodes.ingestSweeps).toEqual(['n1', 'n2'])
    expect(nodes.removals.map(({ node, snapshotter, ids }) => [node, snapshotter, ids.length])).toEqual([
      ['n1', 'overlayfs', 2],
      ['n2', 'native', 1],
    ])
    for (const table of [contentTrashTable, trashTable('n1', 'overlayfs'), trashTable('n2', 'native')])
      expect(await metadata.size(namespace, table)).toBe(0)
    expect(await collector.collect({}, call)).toEqual(nothing)
  })

  test('empties the trash that removed snapshots left', async () => {
    const nodes = new Nodes('n1')
    await using collector = collectorOf(nodes)
    await world.prepare('n1/overlayfs', 'a', '')
    await world.removeSnapshot('n1/overlayfs', 'a')
    await collector.collect({}, call)
    expect(nodes.removals).toMatchObject([{ node: 'n1', snapshotter: 'overlayfs', ids: [expect.any(String)] }])
    expect(await metadata.size(namespace, trashTable('n1', 'overlayfs'))).toBe(0)
  })

  test('has the bytes removed of digests that others left in the trash', async () => {
    const nodes = new Nodes('n1')
    await using collector = collectorOf(nodes)
    await collector.collect({}, call)
    nodes.sweeps.length = 0
    await metadata.transact(namespace, {
      writes: [{ op: 'add', table: contentTrashTable, field: digestNumber(9) }],
      deletions: 1,
    })
    await collector.collect({}, call)
    expect(nodes.sweeps).toEqual([{ node: 'n1', digests: [digestNumber(9)] }])
    expect(await metadata.size(namespace, contentTrashTable)).toBe(0)
  })

  test('answers after a run that began after the call, which those who wait share', async () => {
    const nodes = new Nodes('n1')
    await using collector = collectorOf(nodes)
    await collector.collect({}, call)
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    nodes.answer = () => held
    await world.content(digestNumber(1))
    const first = collector.collect({}, call)
    await until('the first run has removed the record', async () => !(await world.has(tables.content, digestNumber(1))))
    await world.content(digestNumber(2))
    await world.content(digestNumber(3))
    const later = [collector.collect({}, call), collector.collect({}, call)]
    release()
    expect(await first).toEqual({ ...nothing, content: 1 })
    expect(await Promise.all(later)).toEqual([
      { ...nothing, content: 2 },
      { ...nothing, content: 2 },
    ])
  })

  test('a caller that gives up does not stop the run', async () => {
    const nodes = new Nodes('n1')
    await using collector = collectorOf(nodes)
    const gaveUp = new AbortController()
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    nodes.answer = () => held
    await world.content(digestNumber(1))
    const first = collector.collect({}, makeCall({ signal: gaveUp.signal }))
    const second = collector.collect({}, call)
    gaveUp.abort(new Error('enough'))
    await expect(first).rejects.toThrow('enough')
    release()
    expect(await second).toEqual({ ...nothing, content: 1 })
  })

  test.each([
    { what: 'that fails is named', failure: internal('the disk of "n1" is broken'), fails: true },
    {
      what: 'that is away fails no call',
      failure: unavailable('node "n1" is not there', { reason: nodeAway }),
      fails: false,
    },
  ])('a node $what, stops no other, and is looked at completely later', async ({ fails, failure }) => {
    const nodes = new Nodes('n1', 'n2')
    await using collector = collectorOf(nodes)
    await collector.collect({}, call)
    nodes.sweeps.length = 0
    await world.content(digestNumber(1))
    await world.prepare('n1/overlayfs', 'a', '')
    await world.prepare('n2/overlayfs', 'b', '')
    nodes.answer = async (node) => {
      if (node === 'n1') throw failure
    }
    const collected = collector.collect({}, call)
    if (fails)
      await expect(collected).rejects.toMatchObject({
        code: status.UNKNOWN,
        message: expect.stringContaining('the disk of "n1" is broken'),
      })
    else expect(await collected).toMatchObject({ content: 1, snapshots: 2 })
    expect(nodes.sweeps).toEqual([{ node: 'n2', digests: [digestNumber(1)] }])
    expect(nodes.removals.map(({ node }) => node)).toEqual(['n2'])
    expect(await metadata.size(namespace, trashTable('n1', 'overlayfs'))).toBe(1)
    nodes.answer = async () => {}
    await collector.collect({}, call)
    expect(nodes.removals.map(({ node }) => node)).toEqual(['n2', 'n1'])
    expect(await metadata.size(namespace, trashTable('n1', 'overlayfs'))).toBe(0)
  })

  test('a namespace that cannot be read is left alone and stops no other', async () => {
    const nodes = new Nodes('n1')
    await using collector = collectorOf(nodes)
    const other = new World(metadata, `${namespace}-other`)
    await metadata.transact(namespace, {
      writes: [{ op: 'set', table: tables.images, field: 'i', value: Buffer.from([0xff, 0xff, 0xff]) }],
    })
    await world.content(digestNumber(1))
    await other.content(digestNumber(2))
    await expect(collector.collect({}, call)).rejects.toMatchObject({
      message: expect.stringContaining('record "i" in images cannot be read'),
    })
    expect(await world.has(tables.content, digestNumber(1))).toBe(true)
    expect(await other.has(tables.content, digestNumber(2))).toBe(false)
    expect(await metadata.size(namespace, tables.gcRun)).toBe(0)
  })

  test('the partial data of ingests goes also when their namespace was deleted', async () => {
    const nodes = new Nodes('n1')
    await using collector = collectorOf(nodes)
    await world.ingest('r', Date.now() + 3_600_000)
    await collector.collect({}, call)
    expect(nodes.ingestSweeps).toEqual([])
    await metadata.transact(namespace, {
      writes: [tables.namespace, tables.ingests].map((table) => ({ op: 'drop', table })),
      deletions: 1,
    })
    await collector.collect({}, call)
    expect(nodes.ingestSweeps).toEqual(['n1'])
  })

  test('a snapshot whose children are miscounted is kept and told of, with all below it', async () => {
    await using collector = collectorOf(new Nodes())
    const store = 'n1/overlayfs'
    for (const [key, parent] of [
      ['a', ''],
      ['b', 'a'],
      ['c', 'b'],
      ['other', ''],
    ] as const)
      await world.prepare(store, key, parent)
    await metadata.redis.hset(keyOf(namespace, childrenTable('n1', 'overlayfs')), 'b', '2')
    warnings.length = 0
    expect(await collector.collect({}, call)).toEqual({ ...nothing, snapshots: 2 })
    expect((await metadata.all(namespace, snapshotTable('n1', 'overlayfs'))).map(([key]) => key)).toEqual(['a', 'b'])
    expect(warnings).toEqual(['garbage collection: kept, their children are miscounted'])
  })

  test('a namespace in which nothing happened since is not read again, until something in it expires', async () => {
    // So that no run of its own comes between.
    await using collector = collectorOf(new Nodes(), { pauseThreshold: 0.0001 })
    await world.lease('L', { 'containerd.io/gc.expire': new Date(Date.now() + 300).toISOString() })
    const answers = [await collector.collect({}, call)]
    const mutations = () => metadata.get(namespace, tables.gcCounters, 'mutations').then(String)
    const before = await mutations()
    answers.push(await collector.collect({}, call))
    // A run counts as writes of its own. On a busy machine the lease has run out by now.
    if (await world.has(tables.leases, 'L')) expect(await mutations()).toBe(before)
    await sleep(350)
    answers.push(await collector.collect({}, call))
    expect(answers.map(({ leases }) => leases).reduce((sum, one) => sum + one)).toBe(1)
  })

  test('fails when the collector stops', async () => {
    const nodes = new Nodes('n1')
    const collector = collectorOf(nodes)
    nodes.answer = () => new Promise((_, reject) => setTimeout(() => reject(unavailable('late')), 50))
    await world.content(digestNumber(1))
    const waiting = collector.collect({}, call)
    waiting.catch(() => {})
    await sleep(20)
    await collector[Symbol.asyncDispose]()
    await expect(waiting).rejects.toMatchObject({ code: status.UNAVAILABLE })
    await expect(collector.collect({}, call)).rejects.toMatchObject({ code: status.UNAVAILABLE })
    expect(await metadata.size(namespace, tables.gcRun)).toBe(0)
  })
})

describe('directories without a record', () => {
  test('go; those of any namespace’s records stay', async () => {
    const nodes = new Nodes('n1', 'n2')
    const other = new World(metadata, `${namespace}-other`)
    const kept = { 'containerd.io/gc.root': 'x' }
    await world.prepare('n1/overlayfs', 'a', '', kept)
    await other.prepare('n1/overlayfs', 'a', '', kept)
    const ids = [world, other].map(async ({ namespace }) => {
      const bytes = await metadata.get(namespace, snapshotTable('n1', 'overlayfs'), 'a')
      const { Snapshot } = await import('@flotilla/api/flotilla/metadata/v1/records')
      return Snapshot.decode(bytes!).id
    })
    nodes.directories.set('n1/overlayfs', [...(await Promise.all(ids)), 'lost'])
    nodes.directories.set('n2/overlayfs', [...(await Promise.all(ids))])
    await using collector = collectorOf(nodes)
    await collector.collect({}, call)
    expect(nodes.removals.map((removal) => ({ ...removal, ids: removal.ids.toSorted() }))).toEqual([
      { node: 'n1', snapshotter: 'overlayfs', ids: ['lost'] },
      { node: 'n2', snapshotter: 'overlayfs', ids: (await Promise.all(ids)).toSorted() },
    ])
    // And every blob was looked at.
    expect(nodes.sweeps).toEqual([
      { node: 'n1', digests: [] },
      { node: 'n2', digests: [] },
    ])
  })

  test('stay while a namespace cannot be read', async () => {
    const nodes = new Nodes('n1')
    nodes.directories.set('n1/overlayfs', ['whose'])
    await metadata.transact(namespace, {
      writes: [{ op: 'set', table: tables.images, field: 'i', value: Buffer.from([0xff, 0xff, 0xff]) }],
    })
    await using collector = collectorOf(nodes)
    await expect(collector.collect({}, call)).rejects.toThrow()
    expect(nodes.removals).toEqual([])
  })
})

describe('several processes', () => {
  test('wait for each other, and each removal is made once', async () => {
    await using second = await createMetadata({ url, origin: 'second' })
    for (let n = 0; n < 500; n++) await world.content(digestNumber(n))
    await using a = collectorOf(new Nodes())
    await using b = collectorOf(new Nodes(), {}, second)
    const answers = await Promise.all([a.collect({}, call), b.collect({}, call)])
    expect(answers.reduce((sum, { content }) => sum + content, 0)).toBe(500)
  })

  test('a run whose process died is waited for until it expires', async () => {
    await world.content(digestNumber(1))
    await metadata.redis.hset(keyOf(namespace, tables.gcRun), 'id', 'dead')
    await metadata.redis.pexpire(keyOf(namespace, tables.gcRun), 300)
    await using collector = collectorOf(new Nodes())
    expect(await collector.collect({}, call)).toEqual({ ...nothing, content: 1 })
  })

  test('a run that was held up until it expired removes nothing more, also when another has begun', async () => {
    const { signal } = new AbortController()
    await world.content(digestNumber(1))
    for (const marked of [
      () => metadata.redis.del(keyOf(namespace, tables.gcRun)),
      () => metadata.redis.hset(keyOf(namespace, tables.gcRun), 'id', 'another'),
    ]) {
      const late = collectNamespace(metadata, namespace, signal, { marked: async () => void (await marked()) })
      await expect(late).rejects.toBeInstanceOf(RunLost)
    }
    expect(await world.has(tables.content, digestNumber(1))).toBe(true)
    // What is another's stays another's.
    expect(await metadata.get(namespace, tables.gcRun, 'id').then(String)).toBe('another')
  })
})

describe('by itself', () => {
  test('runs after the start', async () => {
    await world.content(digestNumber(1))
    await using _ = collectorOf(new Nodes(), { startupDelay: 1 })
    await until('it is gone', async () => !(await world.has(tables.content, digestNumber(1))))
  })

  test('runs after a deletion', async () => {
    await using _ = collectorOf(new Nodes(), { startupDelay: 1, pauseThreshold: 0.5 })
    await world.image('i', digestNumber(1))
    await world.content(digestNumber(1))
    await world.deleteImage('i')
    await until('the content is gone', async () => !(await world.has(tables.content, digestNumber(1))))
  })

  test('without waiting for the next check, when so many deletions were asked for', async () => {
    // The next check would come in 50 s.
    await using collector = collectorOf(new Nodes(), { deletionThreshold: 2, pauseThreshold: 0.0001 })
    await collector.collect({}, call)
    await world.content(digestNumber(1))
    await world.content(digestNumber(2))
    await world.content(digestNumber(3))
    await world.deleteContent(digestNumber(1))
    await world.deleteContent(digestNumber(2))
    await until('the rest is gone', async () => !(await world.has(tables.content, digestNumber(3))))
  })

  test('tries again after the store was away', async () => {
    await using away = await startRedis()
    await using store = await createMetadata({ url: away.url, origin: 'x' })
    const there = new World(store, 'ns')
    await there.content(digestNumber(1))
    await away.kill()
    warnings.length = 0
    await using collector = collectorOf(new Nodes(), { startupDelay: 1, pauseThreshold: 0.5 }, store)
    await until('it was said', () => warnings.length > 0)
    await expect(collector.collect({}, call)).rejects.toSatisfy((error) => hasCode(error, status.UNAVAILABLE))
    await away.restart()
    await until('it is gone', async () => (await store.size('ns', tables.content)) === 0)
    expect(warnings).toEqual(['garbage collection failed'])
  })

  test.each([
    ['a deletion', 0, 1, true],
    ['99 writes', 99, 0, false],
    ['100 writes', 100, 0, true],
  ])('%s since the last run: due or not', async (_, writes, deletions, due) => {
    const cycle = new Cycle(metadata, new Nodes().deps, logger, new AbortController().signal)
    for (let n = 0; n < 150; n++) await world.lease(`old ${n}`)
    await cycle.run(true)
    for (let n = 0; n < writes; n++) await world.lease(`${n}`)
    for (let n = 0; n < deletions; n++) await world.deleteLease(`old ${n}`)
    expect(await cycle.isDue(never, true)).toBe(due)
    await cycle.run(true)
    expect(await cycle.isDue(never, true)).toBe(false)
  })

  test.each([
    ['too few', 16_383, never, false],
    ['many', 16_384, never, true],
    ['many, which shall not matter,', 16_384, { ...never, mutationThreshold: 0 }, false],
  ])('%s changed records between two checks: due or not', async (_, changes, settings, due) => {
    const cycle = new Cycle(metadata, new Nodes().deps, logger, new AbortController().signal)
    await world.content(digestNumber(1))
    await cycle.run(true)
    await change(changes)
    expect(await cycle.isDue(settings, false)).toBe(due)
    await cycle.run(false)
    expect(await cycle.isDue(settings, false)).toBe(false)
  })

  test('looks for many changes between two checks that are far apart', async () => {
    let runs = 0
    const schedule = new Schedule({
      settings: { ...never, pauseThreshold: 0.0001 },
      run: async () => ({ length: ++runs, answer: runs, failure: undefined }),
      due: async (atCheck) => !atCheck,
    })
    expect(await schedule.next(new AbortController().signal)).toBe(1)
    await until('a run of its own', () => runs > 1)
    await schedule.stop(new Error('the test is over'))
  })

  test('what was kept only because it was written meanwhile makes another run due', async () => {
    await world.content(digestNumber(1))
    const { signal } = new AbortController()
    const marked = async () => void (await world.relabel(digestNumber(1), { a: 'b' }))
    expect((await collectNamespace(metadata, namespace, signal, { marked }))?.removed.content).toBe(0)
    const cycle = new Cycle(metadata, new Nodes().deps, logger, signal)
    expect(await cycle.isDue(never, true)).toBe(true)
    expect((await cycle.run(false)).answer.content).toBe(1)
  })

  test('checks are so far apart that runs take no more than their share', () => {
    expect(intervalAfter(0, 0.02)).toBeCloseTo(245)
    expect(intervalAfter(100, 0.02)).toBeCloseTo(4_900)
    expect(intervalAfter(4_000, 0.02)).toBe(10_000)
    expect(intervalAfter(100, 0.9)).toBe(100)
    expect(intervalAfter(100, 0)).toBe(1_000)
  })
})
