import { ContainerCreate, ContainerDelete, ContainerUpdate } from '@flotilla/api/containerd/events/events'
import { Container, ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { createMetadata, encode, keyOf, type Metadata, snapshotTable, tables } from '@flotilla/metadata'
import { clientOf, connect, createRpcServer, makeCall, status } from '@flotilla/rpc'
import { startRedis, type TestRedis, tempWorld } from '@flotilla/testing'
import { outboxOf } from '@flotilla/testing/metadata-suite'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createContainersService } from './service.ts'

type Partial = Parameters<typeof Container.fromPartial>[0]

let redis: TestRedis
let metadata: Metadata
let service: ReturnType<typeof createContainersService>
let namespace: string
let made = 0

beforeAll(async () => {
  redis = await startRedis({ relaxed: true })
  metadata = await createMetadata({ url: redis.url, origin: 'test' })
  service = createContainersService({ metadata })
})

afterAll(async () => {
  await metadata?.[Symbol.asyncDispose]()
  await redis?.[Symbol.asyncDispose]()
})

beforeEach(() => {
  namespace = `ns-${++made}`
})

const call = (headers: Record<string, string> = {}) => makeCall({ namespace, metadata: headers })
const onNode = (node: string) => call({ 'flotilla-node': node })
const spec = (text: string) => ({
  typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
  value: Buffer.from(text),
})
const runtime = {
  name: 'io.containerd.runc.v2',
  options: { typeUrl: 'containerd.runc.v1.Options', value: Buffer.of() },
}
const full = {
  id: 'c1',
  labels: { a: '1' },
  image: 'img',
  runtime,
  spec: spec('{"a":1}'),
  snapshotter: 'overlayfs',
  snapshotKey: 'c1',
  extensions: { e: spec('e') },
  sandbox: 's1',
}
const create = (container: Partial = full, by = call()) =>
  service.create({ container: Container.fromPartial(container) }, by)
const update = (container: Partial, updateMask?: string[]) =>
  service.update({ container: Container.fromPartial(container), updateMask }, call())
const get = async (id = 'c1') => (await service.get({ id }, call())).container!
const list = async (...filters: string[]) => (await service.list({ filters }, call())).containers.map(({ id }) => id)
const streamed = async (...filters: string[]) =>
  (await Array.fromAsync(service.listStream({ filters }, call()))).map(({ container }) => container!.id)

describe('create', () => {
  test('stores all of it byte for byte, on the server’s clock', async () => {
    const { container } = await create({
      ...full,
      labels: { a: '1', none: '' },
      createdAt: { seconds: -62135596800, nanos: 0 },
    })
    const { createdAt, updatedAt, ...rest } = container!
    expect(rest).toEqual({ ...full })
    expect(createdAt?.seconds).toBeGreaterThan(1_600_000_000)
    expect(updatedAt).toEqual(createdAt)
    expect(await get()).toEqual(container)
  })

  test('looks nothing up and takes one without spec', async () => {
    await create({ id: 'bare', runtime: { name: 'r' } })
    expect((await get('bare')).spec).toBeUndefined()
  })

  test('tells of it', async () => {
    await create()
    const [event] = await outboxOf(metadata, namespace)
    expect(event).toMatchObject({ topic: '/containers/create', type: 'containerd.events.ContainerCreate' })
    expect(ContainerCreate.decode(event!.value)).toEqual({ id: 'c1', image: 'img', runtime })
  })

  const regex = '^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$'
  test.each([
    ['no id', { runtime }, 'container.ID: identifier must not be empty'],
    ['an id that is none', { id: 'a b', runtime }, `container.ID: identifier "a b" must match ${regex}`],
    [
      'an extension without key',
      { id: 'c', runtime, extensions: { '': spec('') } },
      'container.Extension keys must not be zero-length',
    ],
    [
      'too long a label',
      { id: 'c', runtime, labels: { k: 'v'.repeat(4096) } },
      'containers.Labels: label key and value length (4097 bytes) greater than maximum size (4096 bytes), key: k',
    ],
    ['no runtime', { id: 'c' }, 'container.Runtime.Name must be set'],
    [
      'a snapshot without snapshotter',
      { id: 'c', runtime, snapshotKey: 'k' },
      'container.Snapshotter must be set if container.SnapshotKey is set',
    ],
  ])('refuses %s', async (_, container, fault) => {
    await expect(create(container)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: `create container failed validation: ${fault}: invalid argument`,
    })
    expect(await list()).toEqual([])
  })

  test('takes a request without a container as an empty one', async () => {
    await expect(service.create({ container: undefined }, call())).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
  })

  test('fifty at once: one wins, one event', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => create()))
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        expect(outcome.reason).toMatchObject({ code: status.ALREADY_EXISTS, message: 'container "c1": already exists' })
    expect(await outboxOf(metadata, namespace)).toHaveLength(1)
  })
})

describe('the node of a container', () => {
  const node = async (id = 'c1') => (await get(id)).labels['flotilla.io/node']
  const snapshotOn = (name: string) =>
    metadata.transact(namespace, {
      writes: [
        { op: 'add', table: tables.snapshotStores, field: `${name}/overlayfs` },
        { op: 'set', table: snapshotTable(name, 'overlayfs'), field: 'c1', value: 'x' },
      ],
    })

  test('is the one the call came through, whatever else is said', async () => {
    await snapshotOn('n2')
    await create({ ...full, labels: { 'flotilla.io/node': 'n3' } }, onNode('n1'))
    expect(await node()).toBe('n1')
  })

  test('else the one in its labels', async () => {
    await snapshotOn('n2')
    await create({ ...full, labels: { 'flotilla.io/node': 'n3' } })
    expect(await node()).toBe('n3')
  })

  test('else the one that has its snapshot', async () => {
    await metadata.transact(namespace, {
      writes: [
        { op: 'add', table: tables.snapshotStores, field: 'n1/overlayfs' },
        { op: 'add', table: tables.snapshotStores, field: 'n3/native' },
        { op: 'set', table: snapshotTable('n3', 'native'), field: 'c1', value: 'x' },
      ],
    })
    await snapshotOn('n2')
    await createContainersService({ metadata, nodeName: 'n9' }).create(
      { container: Container.fromPartial(full) },
      call(),
    )
    expect(await node()).toBe('n2')
  })

  test('else the default, else none', async () => {
    await createContainersService({ metadata, nodeName: 'n9' }).create(
      { container: Container.fromPartial(full) },
      call(),
    )
    expect(await node()).toBe('n9')
    await create({ ...full, id: 'c2' })
    expect(await node('c2')).toBeUndefined()
  })

  test('stays when labels are replaced, and is no filter of lists', async () => {
    await create(full, onNode('n1'))
    await update({ ...full, labels: { b: '2' } })
    expect((await get()).labels).toEqual({ b: '2', 'flotilla.io/node': 'n1' })
    await update({ id: 'c1' }, ['labels'])
    await update({ id: 'c1' }, ['labels.flotilla.io/node'])
    await update({ id: 'c1', labels: { 'flotilla.io/node': 'n1' } }, ['labels.flotilla.io/node'])
    expect(await node()).toBe('n1')
    expect((await service.list({ filters: [] }, onNode('n2'))).containers).toHaveLength(1)
  })

  test.each([[['labels']], [['labels.flotilla.io/node']], [undefined]])(
    'cannot be changed by an update with mask %j',
    async (mask) => {
      await create(full, onNode('n1'))
      await expect(update({ ...full, labels: { 'flotilla.io/node': 'n2' } }, mask)).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        message: 'cannot update "labels.flotilla.io/node" field on "c1": it is on node "n1": invalid argument',
      })
    },
  )

  test('can be given once to a container that has none', async () => {
    await create()
    await update({ id: 'c1', labels: { 'flotilla.io/node': 'n1' } }, ['labels.flotilla.io/node'])
    expect(await node()).toBe('n1')
  })
})

describe('get and lists', () => {
  test('an unknown container is NOT_FOUND', async () => {
    await expect(get('x')).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: `container "x" in namespace "${namespace}": not found`,
    })
  })

  test('both lists give byte order and take filters', async () => {
    for (const id of ['b', 'B', 'a-1']) await create({ ...full, id, labels: { is: id }, image: `img-${id}` })
    for (const give of [list, streamed]) {
      expect(await give()).toEqual(['B', 'a-1', 'b'])
      expect(await give('id==b', 'labels.is==B')).toEqual(['B', 'b'])
      expect(await give('runtime.name==io.containerd.runc.v2,image~=^img-a')).toEqual(['a-1'])
      await expect(give('id==/x')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
    }
    expect((await Array.fromAsync(service.listStream({ filters: ['id==b'] }, call())))[0]!.container).toEqual(
      await get('b'),
    )
  })

  test('both need a namespace', async () => {
    const nowhere = { code: status.FAILED_PRECONDITION, message: 'namespace is required: failed precondition' }
    await expect(service.list({ filters: [] }, makeCall())).rejects.toMatchObject(nowhere)
    await expect(Array.fromAsync(service.listStream({ filters: [] }, makeCall()))).rejects.toMatchObject(nowhere)
  })
})

describe('update', () => {
  test('without paths replaces labels, spec, extensions, image and snapshot key, and nothing else', async () => {
    const { container: first } = await create()
    const { container } = await update({
      id: 'c1',
      labels: { b: '2', none: '' },
      image: 'other',
      spec: spec('{}'),
      snapshotter: 'overlayfs',
      snapshotKey: 'k2',
      extensions: { f: spec('f') },
      runtime: { name: runtime.name },
      sandbox: 's2',
    })
    const { updatedAt, ...rest } = container!
    expect(rest).toEqual({
      ...full,
      labels: { b: '2' },
      image: 'other',
      spec: spec('{}'),
      snapshotKey: 'k2',
      extensions: { f: spec('f') },
      createdAt: first!.createdAt,
    })
    expect(updatedAt).not.toEqual(first!.updatedAt)
    expect(await get()).toEqual(container)
  })

  test.each([
    ['labels', { labels: { b: '2' } }],
    ['labels.b', { labels: { a: '1', b: '2' } }],
    ['labels.a', { labels: {} }],
    ['spec', { spec: spec('new') }],
    ['extensions', { extensions: { 'x.y/z': spec('z') } }],
    ['extensions.x.y/z', { extensions: { e: spec('e'), 'x.y/z': spec('z') } }],
    ['extensions.e', { extensions: {} }],
    ['image', { image: 'other' }],
    ['snapshotkey', { snapshotKey: 'k2' }],
  ])('the path %s changes only that', async (path, changed) => {
    await create()
    const { container } = await update(
      {
        id: 'c1',
        labels: { b: '2' },
        spec: spec('new'),
        extensions: { 'x.y/z': spec('z') },
        image: 'other',
        snapshotKey: 'k2',
        runtime: { name: 'other' },
      },
      [path],
    )
    const { createdAt: _, updatedAt: __, ...rest } = container!
    expect(rest).toEqual({ ...full, ...changed })
  })

  test.each(['snapshotter', 'runtime', 'runtime.name', 'sandbox', 'id', 'created_at', 'labels.', 'nonsense'])(
    'refuses the path %s and changes nothing',
    async (path) => {
      await create()
      await expect(update({ id: 'c1', image: 'other' }, ['image', path])).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        message: `cannot update "${path}" field on "c1": invalid argument`,
      })
      expect((await get()).image).toBe('img')
    },
  )

  test.each([
    [{ ...full, snapshotter: 'native' }, 'container.Snapshotter field is immutable: invalid argument'],
    [{ ...full, runtime: { name: 'other' } }, 'container.Runtime.Name field is immutable: invalid argument'],
    [{ ...full, spec: undefined }, 'update failed validation: container.Spec must be set: invalid argument'],
    [
      { ...full, labels: { k: 'v'.repeat(4096) } },
      'update failed validation: containers.Labels: label key and value length (4097 bytes) greater than maximum size (4096 bytes), key: k: invalid argument',
    ],
  ])('refuses a replacement that no container may become (%#)', async (container, message) => {
    await create()
    await expect(update(container)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, message })
    expect(await get()).toMatchObject({ labels: full.labels, image: 'img' })
  })

  test('a container made without spec has to be given one', async () => {
    await create({ id: 'c1', runtime: { name: 'r' } })
    await expect(update({ id: 'c1', image: 'x' }, ['image'])).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
    await update({ id: 'c1', image: 'x', spec: spec('{}') }, ['image', 'spec'])
    expect((await get()).image).toBe('x')
  })

  test('without id is INVALID_ARGUMENT, of an unknown one NOT_FOUND', async () => {
    await expect(service.update({ container: undefined, updateMask: undefined }, call())).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: 'Container.ID required: invalid argument',
    })
    await expect(update({ id: 'x' }, ['nonsense'])).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: `container "x" in namespace "${namespace}": not found`,
    })
  })

  test('tells of it as it became', async () => {
    await create()
    await update({ id: 'c1', labels: { b: '2' } }, ['labels.b'])
    const event = (await outboxOf(metadata, namespace)).at(-1)
    expect(event).toMatchObject({ topic: '/containers/update', type: 'containerd.events.ContainerUpdate' })
    expect(ContainerUpdate.decode(event!.value)).toEqual({
      id: 'c1',
      image: 'img',
      labels: { a: '1', b: '2' },
      snapshotKey: 'c1',
    })
  })

  test('fifty at once all land', async () => {
    await create()
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => update({ id: 'c1', labels: { [`k${i}`]: 'v' } }, [`labels.k${i}`])),
    )
    expect(Object.keys((await get()).labels)).toHaveLength(51)
    expect(await outboxOf(metadata, namespace)).toHaveLength(51)
  })
})

describe('delete', () => {
  test('removes the record, tells of it, counts it for the collector', async () => {
    await create()
    await service.delete({ id: 'c1' }, call())
    expect(await list()).toEqual([])
    const event = (await outboxOf(metadata, namespace)).at(-1)
    expect(event).toMatchObject({ topic: '/containers/delete', type: 'containerd.events.ContainerDelete' })
    expect(ContainerDelete.decode(event!.value)).toEqual({ id: 'c1' })
    expect(String(await metadata.get(namespace, tables.gcCounters, 'deletions'))).toBe('1')
    await expect(service.delete({ id: 'c1' }, call())).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: 'container c1: not found',
    })
  })

  test('and an update of it at the same time: it is gone, and no event follows its deletion', async () => {
    await create()
    const updates = Array.from({ length: 20 }, (_, i) => update({ id: 'c1', labels: { k: String(i) } }, ['labels.k']))
    await Promise.all([service.delete({ id: 'c1' }, call()), Promise.allSettled(updates)])
    expect(await list()).toEqual([])
    expect((await outboxOf(metadata, namespace)).at(-1)?.topic).toBe('/containers/delete')
  })
})

test('takes no lease, not even one that does not exist', async () => {
  await create(full, makeCall({ namespace, lease: 'none' }))
  expect(await list()).toEqual(['c1'])
})

test('a running collection learns of what was made and changed', async () => {
  await metadata.redis.hset(keyOf(namespace, tables.gcRun), 'id', '1')
  await create()
  await update({ id: 'c1', snapshotKey: 'k2' }, ['snapshotkey'])
  expect(await metadata.redis.lrange(keyOf(namespace, tables.gcDirty), 0, -1)).toEqual([
    'containers\0c1',
    'containers\0c1',
  ])
})

describe('ten thousand containers over gRPC', () => {
  test('are listed in order by both calls, while other calls are answered', async () => {
    const ids = Array.from({ length: 10_000 }, (_, i) => `c${String(i).padStart(5, '0')}`)
    for (let at = 0; at < ids.length; at += 1_000)
      await metadata.transact(namespace, {
        writes: ids.slice(at, at + 1_000).map((id) => ({
          op: 'set',
          table: tables.containers,
          field: id,
          value: encode(Container, Container.fromPartial({ ...full, id, spec: spec('x'.repeat(1_000)) })),
        })),
      })
    await using world = await tempWorld()
    await using server = createRpcServer()
    server.add(ContainersDefinition, service)
    const connection = connect(await server.listen(`unix://${world.join('containers.sock')}`))
    const client = clientOf(ContainersDefinition, connection)

    const order: string[] = []
    const listing = client.list({ filters: [] }, call()).then(({ containers }) => {
      order.push('list')
      return containers.map(({ id }) => id)
    })
    await client.get({ id: 'c00000' }, call()).then(() => order.push('get'))
    expect(await listing).toEqual(ids)
    expect(order).toEqual(['get', 'list'])

    const seen: string[] = []
    for await (const { container } of client.listStream({ filters: [] }, call())) seen.push(container!.id)
    expect(seen).toEqual(ids)

    // Leaving early ends the stream; the connection goes on.
    for await (const { container } of client.listStream({ filters: [] }, call())) {
      expect(container!.id).toBe('c00000')
      break
    }
    expect((await client.list({ filters: ['id==c09999'] }, call())).containers).toHaveLength(1)
    connection.close()
  })
})
