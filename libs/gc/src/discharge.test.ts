import { keyOf, type Metadata, tables } from '@flotilla/metadata'
import { beforeEach, describe, expect, test } from 'vitest'
import { plainTables } from './objects.ts'
import { discharge, watchTable } from './scripts.ts'
import { withStore } from './testing/store.ts'
import { digestNumber, World } from './testing/world.ts'

let metadata: Metadata
let namespace: string
let world: World
let made = 0

withStore((store) => {
  metadata = store
})

beforeEach(async () => {
  namespace = `ns-${++made}`
  world = new World(metadata, namespace)
  await metadata.redis.hset(keyOf(namespace, tables.gcRun), 'id', 'run')
})

const types = [
  ...plainTables.map((table) => ({ type: table, table })),
  { type: 'snapshots/overlayfs', table: 'snapshots:n1/overlayfs' },
]
const watch = (...ids: string[]) => metadata.redis.sadd(keyOf(namespace, watchTable), ...ids)
const left = () => metadata.redis.lrange(keyOf(namespace, tables.gcDirty), 0, -1)
const run = async (stores?: number) =>
  discharge(metadata, namespace, 'run', types, stores ?? (await metadata.size(namespace, tables.snapshotStores)))

const garbage = digestNumber(1)

describe('a write that refers to what is watched stays', () => {
  test.each<[string, () => Promise<boolean>]>([
    ['an image by its target', () => world.image('i', garbage)],
    ['an image by a label', () => world.image('i', digestNumber(2), { 'containerd.io/gc.ref.content.x': garbage })],
    ['content by a label', () => world.content(digestNumber(2), { a: 'b', 'containerd.io/gc.ref.content.0': garbage })],
    ['a container by its snapshot', () => world.container('c', 'overlayfs', garbage)],
    ['a container by a label', () => world.container('c', '', '', { 'containerd.io/gc.ref.snapshot.native': garbage })],
    ['a sandbox by a label', () => world.sandbox('s', { 'containerd.io/gc.ref.content': garbage })],
    ['an ingest by what it adopts', () => world.ingest('r', Date.now(), garbage)],
    [
      'a snapshot by a label',
      () => world.prepare('n1/overlayfs', 'k', '', { 'containerd.io/gc.ref.content': garbage }),
    ],
    ['a condition', () => world.image('i', 'x', { 'containerd.io/gc.cond.snapshot.native': `usedat<1h|${garbage}` })],
    ['being watched itself', () => world.content(garbage)],
  ])('%s', async (_, write) => {
    await watch(garbage)
    expect(await write()).toBe(true)
    expect(await left()).toHaveLength(1)
    expect(await run()).toBe(0)
    expect(await left()).toHaveLength(1)
  })

  test('a snapshot by its parent', async () => {
    await world.prepare('n1/overlayfs', 'parent', '')
    await metadata.redis.del(keyOf(namespace, tables.gcDirty))
    await watch('parent')
    await world.prepare('n1/overlayfs', 'k', 'parent')
    expect(await run()).toBe(0)
  })

  test('joining a lease', async () => {
    await world.lease('L')
    await watch(garbage)
    await world.join('L', 'content', garbage)
    expect(await run()).toBe(1)
    expect(await left()).toEqual([`content\0${garbage}`])
  })
})

test('all other writes go', async () => {
  await watch(garbage)
  await world.lease('L')
  await world.content(digestNumber(2), { 'containerd.io/gc.ref.content.0': digestNumber(3), x: 'y'.repeat(3000) }, 'L')
  await world.image('i', digestNumber(2), { a: 'b' })
  await world.container('c', 'overlayfs', 'k', { 'containerd.io/gc.ref.image': 'i' })
  await world.sandbox('s', {})
  await world.ingest('r', Date.now(), digestNumber(3))
  await world.prepare('n1/overlayfs', 'k', '')
  await world.deleteImage('i')
  const count = (await left()).length
  expect(count).toBe(8)
  expect(await run()).toBe(count)
  expect(await left()).toEqual([])
})

test('what comes before a write that matters goes, what comes after it waits', async () => {
  await watch(garbage)
  await world.image('a', digestNumber(2))
  await world.image('b', garbage)
  await world.image('c', digestNumber(2))
  expect(await run()).toBe(1)
  expect(await left()).toEqual(['images\0b', 'images\0c'])
})

test('nothing goes when there is a snapshot store that the caller does not know', async () => {
  await world.prepare('n1/overlayfs', 'k', '')
  await world.prepare('n2/overlayfs', 'k', '')
  expect(await run(1)).toBe(0)
  expect(await left()).toHaveLength(2)
})

test('nothing goes when the run is another’s', async () => {
  await world.image('a', digestNumber(2))
  expect(await discharge(metadata, namespace, 'other', types, 0)).toBe(-1)
  expect(await left()).toHaveLength(1)
})
