import { NamespaceCreate, NamespaceDelete, NamespaceUpdate } from '@flotilla/api/containerd/events/events'
import { createMetadata, leaseTable, type Metadata, snapshotTable, tables, trashTable } from '@flotilla/metadata'
import { makeCall, status } from '@flotilla/rpc'
import { startRedis, type TestRedis } from '@flotilla/testing'
import { outboxOf } from '@flotilla/testing/metadata-suite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createNamespacesService } from './service.ts'

let redis: TestRedis
let metadata: Metadata
let service: ReturnType<typeof createNamespacesService>
const call = makeCall()

beforeAll(async () => {
  redis = await startRedis({ relaxed: true })
  metadata = await createMetadata({ url: redis.url, origin: 'test' })
  service = createNamespacesService({ metadata })
})

afterAll(async () => {
  await metadata?.[Symbol.asyncDispose]()
  await redis?.[Symbol.asyncDispose]()
})

const create = (name: string, labels: Record<string, string> = {}) =>
  service.create({ namespace: { name, labels } }, call)
const update = (name: string, labels: Record<string, string>, updateMask?: string[]) =>
  service.update({ namespace: { name, labels }, updateMask }, call)
const labelsOf = async (name: string) => (await service.get({ name }, call)).namespace?.labels
const names = async () => (await service.list({ filter: '' }, call)).namespaces.map(({ name }) => name)

/** Writes a record as another service would. */
const put = (namespace: string, table: string, field: string) =>
  metadata.transact(namespace, { writes: [{ op: 'set', table, field, value: 'x' }] })

const events = (namespace: string) => outboxOf(metadata, namespace)

describe('get and list', () => {
  test('an unknown name answers itself without labels', async () => {
    expect(await service.get({ name: 'nowhere' }, call)).toEqual({ namespace: { name: 'nowhere', labels: {} } })
  })

  test('a namespace exists from the first write in it', async () => {
    expect(await names()).not.toContain('used')
    await put('used', tables.images, 'a')
    expect(await names()).toContain('used')
  })

  test('a change that was refused makes no namespace', async () => {
    await metadata.transact('refused', {
      checks: [{ is: 'present', table: tables.images, field: 'a' }],
      writes: [{ op: 'set', table: tables.images, field: 'a', value: 'x' }],
    })
    expect(await names()).not.toContain('refused')
  })

  test('names come in byte order', async () => {
    await Promise.all(['b-order', 'B-order', 'a-order'].map((name) => create(name)))
    expect((await names()).filter((name) => name.endsWith('-order'))).toEqual(['B-order', 'a-order', 'b-order'])
  })
})

describe('create', () => {
  test('stores labels, leaves out empty ones, and tells of it in the new namespace', async () => {
    expect(await create('one', { a: '1', none: '' })).toEqual({ namespace: { name: 'one', labels: { a: '1' } } })
    expect(await labelsOf('one')).toEqual({ a: '1' })
    const [event] = await events('one')
    expect(event).toMatchObject({ topic: '/namespaces/create', type: 'containerd.events.NamespaceCreate' })
    expect(NamespaceCreate.decode(event!.value)).toEqual({ name: 'one', labels: { a: '1', none: '' } })
  })

  test('refuses what exists', async () => {
    await create('twice')
    await expect(create('twice')).rejects.toMatchObject({
      code: status.ALREADY_EXISTS,
      message: 'namespace "twice": already exists',
    })
  })

  test.each([
    ['', 'identifier must not be empty: invalid argument'],
    ['a b', 'identifier "a b" must match ^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$: invalid argument'],
    ['a'.repeat(77), `identifier "${'a'.repeat(77)}" greater than maximum length (76 characters): invalid argument`],
  ])('refuses the name %j', async (name, message) => {
    await expect(create(name)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, message })
  })

  test('takes a request without a namespace as one with an empty name', async () => {
    await expect(service.create({ namespace: undefined }, call)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
  })

  test('refuses a label that is too long', async () => {
    await expect(create('long', { k: 'v'.repeat(4096) })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message:
        'namespace.Labels: label key and value length (4097 bytes) greater than maximum size (4096 bytes), key: k: invalid argument',
    })
    expect(await names()).not.toContain('long')
  })

  test('fifty at once: one wins', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, (_, i) => create('raced', { by: String(i) })))
    expect(outcomes.filter(({ status: is }) => is === 'fulfilled')).toHaveLength(1)
    expect((await events('raced')).map(({ topic }) => topic)).toEqual(['/namespaces/create'])
  })
})

describe('update', () => {
  test('without a mask replaces all labels', async () => {
    await create('replaced', { a: '1', b: '2' })
    expect(await update('replaced', { b: '3', c: '' })).toEqual({ namespace: { name: 'replaced', labels: { b: '3' } } })
    expect(await labelsOf('replaced')).toEqual({ b: '3' })
  })

  test('with a mask sets and deletes single labels', async () => {
    await create('masked', { 'a.b/c': '1', gone: '1', emptied: '1', stays: '1' })
    await update('masked', { 'a.b/c': '2', emptied: '', stays: 'ignored' }, [
      'labels.a.b/c',
      'labels.gone',
      'labels.emptied',
    ])
    expect(await labelsOf('masked')).toEqual({ 'a.b/c': '2', stays: '1' })
    const event = (await events('masked')).at(-1)
    expect(event).toMatchObject({ topic: '/namespaces/update', type: 'containerd.events.NamespaceUpdate' })
    expect(NamespaceUpdate.decode(event!.value).name).toBe('masked')
  })

  test.each(['labels', 'labels.', 'name', 'nonsense'])('refuses the path %s and changes nothing', async (path) => {
    await update('paths', { a: '1' })
    await expect(update('paths', { a: '2' }, ['labels.a', path])).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: `cannot update "${path}" field: invalid argument`,
    })
    expect(await labelsOf('paths')).toEqual({ a: '1' })
  })

  test('makes a namespace that is not there', async () => {
    await update('updated-first', { a: '1' }, ['labels.a'])
    expect(await names()).toContain('updated-first')
    expect(await labelsOf('updated-first')).toEqual({ a: '1' })
  })

  test('fifty at once: all labels land', async () => {
    await Promise.all(Array.from({ length: 50 }, (_, i) => update('many', { [`k${i}`]: 'v' }, [`labels.k${i}`])))
    expect(Object.keys((await labelsOf('many')) ?? {})).toHaveLength(50)
  })
})

describe('delete', () => {
  test('an unknown one is NOT_FOUND', async () => {
    await expect(service.delete({ name: 'never' }, call)).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: 'namespace "never": not found',
    })
  })

  test('names all that is left, in order', async () => {
    await put('full', tables.containers, 'c')
    await put('full', tables.images, 'i')
    await put('full', tables.content, 'sha256:x')
    for (const [node, snapshotter] of [
      ['n2', 'overlayfs'],
      ['n1', 'overlayfs'],
      ['n1', 'native'],
      ['n1', 'btrfs'],
    ] as const) {
      await metadata.transact('full', {
        writes: [{ op: 'add', table: tables.snapshotStores, field: `${node}/${snapshotter}` }],
      })
      if (snapshotter !== 'btrfs') await put('full', snapshotTable(node, snapshotter), 'key')
    }
    await expect(service.delete({ name: 'full' }, call)).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      message:
        'namespace "full" must be empty, but it still has images, blobs, containers, snapshots on "native" snapshotter, snapshots on "overlayfs" snapshotter: failed precondition',
    })
    expect(await names()).toContain('full')
  })

  test('leases, ingests and sandboxes go with it, directories to be removed are remembered', async () => {
    await put('leased', tables.leases, 'L1')
    await metadata.transact('leased', {
      writes: [
        { op: 'set', table: tables.ingests, field: 'ref', value: 'x' },
        { op: 'set', table: tables.sandboxes, field: 's', value: 'x' },
        { op: 'add', table: tables.snapshotStores, field: 'n1/native' },
        { op: 'add', table: trashTable('n1', 'native'), field: '7' },
      ],
      lease: { id: 'L1', add: [{ type: 'images', id: 'i' }] },
    })
    await service.delete({ name: 'leased' }, call)
    expect(await names()).not.toContain('leased')
    for (const table of [tables.leases, leaseTable('L1'), tables.ingests, tables.sandboxes, tables.namespace])
      expect(await metadata.size('leased', table), table).toBe(0)
    expect(await metadata.members('leased', trashTable('n1', 'native'))).toEqual(['7'])
    expect(await metadata.members('leased', tables.snapshotStores)).toEqual(['n1/native'])
    const event = (await events('leased')).at(-1)
    expect(event).toMatchObject({ topic: '/namespaces/delete', type: 'containerd.events.NamespaceDelete' })
    expect(NamespaceDelete.decode(event!.value)).toEqual({ name: 'leased' })
    expect(String(await metadata.get('leased', tables.gcCounters, 'deletions'))).toBe('1')
  })

  test('a name can be used again, without what it had', async () => {
    await create('again', { a: '1' })
    await service.delete({ name: 'again' }, call)
    await create('again')
    expect(await labelsOf('again')).toEqual({})
  })

  test('never takes what is written meanwhile with it', async () => {
    for (let round = 0; round < 30; round++) {
      const name = `race-${round}`
      await create(name)
      const writes = Array.from({ length: 5 }, (_, i) =>
        metadata.transact(name, {
          writes: [
            { op: 'add', table: tables.snapshotStores, field: `n${i}/native` },
            { op: 'set', table: snapshotTable(`n${i}`, 'native'), field: 'key', value: 'x' },
          ],
        }),
      )
      await Promise.allSettled([service.delete({ name }, call), ...writes])
      // Whichever came first, the namespace of a snapshot that is there exists.
      expect(await names()).toContain(name)
      for (let i = 0; i < 5; i++) expect(await metadata.size(name, snapshotTable(`n${i}`, 'native'))).toBe(1)
    }
  })
})
