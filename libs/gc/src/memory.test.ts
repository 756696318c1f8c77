import { keyOf, type Metadata, tables } from '@flotilla/metadata'
import { beforeEach, describe, expect, test } from 'vitest'
import { type Collected, collectNamespace, type Memory } from './collect-namespace.ts'
import { withStore } from './testing/store.ts'
import { digestNumber, World } from './testing/world.ts'

let metadata: Metadata
let namespace: string
let world: World
let number = 0
const signal = new AbortController().signal

withStore((store) => {
  metadata = store
})

beforeEach(() => {
  namespace = `memory-${number++}`
  world = new World(metadata, namespace)
})

async function collect(memory?: Memory): Promise<Collected> {
  const collected = await collectNamespace(metadata, namespace, signal, { memory })
  if (collected === undefined) throw new Error('nobody else collects here')
  return collected
}

const total = ({ removed }: Collected) => Object.values(removed).reduce((sum, count) => sum + count, 0)
const changed = () => metadata.members(namespace, tables.gcChanged)
const has = (digest: number) => world.has(tables.content, digestNumber(digest))

/** Changes a record so that nobody is told: a run that read it would see that. */
async function changeUnnoticed(digest: number): Promise<void> {
  await metadata.redis.hset(keyOf(namespace, tables.content), digestNumber(digest), Buffer.from([0xff, 0xff]))
}

describe('a run with the memory of the one before', () => {
  test('reads only what has changed since', async () => {
    await world.image('i', digestNumber(1))
    await world.content(digestNumber(1))
    const { memory } = await collect()
    await changeUnnoticed(1)
    await world.content(digestNumber(2))
    expect(await changed()).toEqual([`content\0${digestNumber(2)}`])
    const second = await collect(memory)
    expect(second.removed.content).toBe(1)
    expect(await changed()).toEqual([])
    // Without a memory the record that cannot be read is found.
    await expect(collect()).rejects.toThrow('cannot be read')
  })

  test('removes what lost its image, and what that led to', async () => {
    await world.image('i', digestNumber(1))
    await world.content(digestNumber(2))
    await world.content(digestNumber(1), { 'containerd.io/gc.ref.content.0': digestNumber(2) })
    const { memory } = await collect()
    expect([await has(1), await has(2)]).toEqual([true, true])
    await world.deleteImage('i')
    expect((await collect(memory)).removed.content).toBe(2)
  })

  test('removes what left its lease, keeps what joined it', async () => {
    await world.lease('L')
    await world.content(digestNumber(1), {}, 'L')
    const { memory } = await collect()
    await world.content(digestNumber(2), {}, 'L')
    await metadata.transact(namespace, {
      lease: { id: 'L', remove: [{ type: 'content', id: digestNumber(1) }] },
      deletions: 1,
    })
    const second = await collect(memory)
    expect([await has(1), await has(2)]).toEqual([false, true])
    await world.deleteLease('L')
    expect((await collect(second.memory)).removed.content).toBe(1)
  })

  test('removes a lease that ran out meanwhile, with what it held, though nothing was written', async () => {
    await world.lease('L', { 'containerd.io/gc.expire': new Date(Date.now() + 400).toISOString() })
    await world.content(digestNumber(1), {}, 'L')
    const { memory, nextExpiry, removed } = await collect()
    expect(removed.leases).toBe(0)
    await new Promise((resolve) => setTimeout(resolve, nextExpiry - Date.now() + 5))
    expect((await collect(memory)).removed).toMatchObject({ leases: 1, content: 1 })
  })

  test('knows snapshots of a store that was not there before', async () => {
    await world.prepare('n1/overlayfs', 'a', '')
    const { memory } = await collect()
    await world.prepare('n2/overlayfs', 'b', '')
    await world.container('c', 'overlayfs', 'kept')
    await world.prepare('n2/overlayfs', 'kept', '')
    expect((await collect(memory)).removed.snapshots).toBe(1)
    expect(await world.has('snapshots:n2/overlayfs', 'kept')).toBe(true)
  })

  test('has nothing to do with what it removed itself', async () => {
    for (let n = 0; n < 5; n++) await world.content(digestNumber(n))
    const first = await collect()
    expect(total(first)).toBe(5)
    expect(await changed()).toEqual([])
    await world.content(digestNumber(3))
    await world.image('i', digestNumber(3))
    expect(total(await collect(first.memory))).toBe(0)
    expect(await has(3)).toBe(true)
  })
})

describe('everything is read again', () => {
  test('when another run came between', async () => {
    const { memory } = await collect()
    await collect()
    await world.content(digestNumber(1))
    await changeUnnoticed(1)
    await expect(collect(memory)).rejects.toThrow('cannot be read')
  })

  test('when the run before was cut off', async () => {
    await world.content(digestNumber(1))
    const { memory } = await collect()
    await world.content(digestNumber(2))
    const late = collectNamespace(metadata, namespace, signal, {
      memory,
      marked: async () => void (await metadata.redis.del(keyOf(namespace, tables.gcRun))),
    })
    await expect(late).rejects.toThrow('lost its turn')
    expect((await collect()).removed.content).toBe(1)
  })

  test('when a table of records was dropped as a whole', async () => {
    await world.lease('L')
    await world.content(digestNumber(1), {}, 'L')
    const { memory } = await collect()
    await metadata.transact(namespace, { writes: [{ op: 'drop', table: tables.leases }] })
    expect(await metadata.size(namespace, tables.gcMemory)).toBe(0)
    const second = await collect(memory)
    expect(second.removed.content).toBe(1)
    expect(second.memory).toBeDefined()
  })

  test('when more changed than is noted; and what is noted then is bounded', { timeout: 60_000 }, async () => {
    const { memory } = await collect()
    const writes = Array.from({ length: 5_000 }, (_, n) => n)
    for (let at = 0; at < 50_001; at += writes.length)
      await metadata.transact(namespace, {
        writes: writes.map((n) => ({ op: 'delete', table: tables.content, field: digestNumber(at + n) })),
      })
    expect(await metadata.size(namespace, tables.gcMemory)).toBe(0)
    expect(await changed()).toEqual([])
    await world.content(digestNumber(1))
    expect(await changed()).toEqual([])
    expect((await collect(memory)).removed.content).toBe(1)
  })
})

test('a run during which more changed than is noted succeeds, and leaves no memory', { timeout: 60_000 }, async () => {
  await world.content(digestNumber(1))
  const forget = () => metadata.redis.del(keyOf(namespace, tables.gcMemory), keyOf(namespace, tables.gcChanged))
  const collected = await collectNamespace(metadata, namespace, signal, { marked: async () => void (await forget()) })
  expect(collected?.removed.content).toBe(1)
  expect(collected?.memory).toBeUndefined()
  expect(await metadata.size(namespace, tables.gcRun)).toBe(0)
})

test('nothing is noted where no collection has been', async () => {
  await world.content(digestNumber(1))
  expect(await changed()).toEqual([])
})
