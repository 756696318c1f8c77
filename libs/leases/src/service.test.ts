import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { CollectResponse } from '@flotilla/api/flotilla/gc/v1/gc'
import { createMetadata, keyOf, leaseTable, type Metadata, tables } from '@flotilla/metadata'
import { type Call, clientOf, connect, createRpcServer, makeCall, status, unavailable } from '@flotilla/rpc'
import { startRedis, type TestRedis, tempWorld } from '@flotilla/testing'
import { outboxOf } from '@flotilla/testing/metadata-suite'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createLeasesService } from './service.ts'

let redis: TestRedis
let metadata: Metadata
let service: ReturnType<typeof createLeasesService>
let collect: (call: Call) => Promise<CollectResponse>
let namespace: string
let call: Call
let made = 0

beforeAll(async () => {
  redis = await startRedis({ relaxed: true })
  metadata = await createMetadata({ url: redis.url, origin: 'test' })
  service = createLeasesService({ metadata, collector: { collect: (_, call) => collect(call) } })
})

afterAll(async () => {
  await metadata?.[Symbol.asyncDispose]()
  await redis?.[Symbol.asyncDispose]()
})

beforeEach(() => {
  namespace = `ns-${++made}`
  call = makeCall({ namespace })
  collect = () => Promise.reject(new Error('nobody asked for a collection'))
})

const digest = `sha256:${'a'.repeat(64)}`
const create = (id: string, labels: Record<string, string> = {}) => service.create({ id, labels }, call)
const add = (id: string, type: string, name: string) => service.addResource({ id, resource: { type, id: name } }, call)
const drop = (id: string, type: string, name: string) =>
  service.deleteResource({ id, resource: { type, id: name } }, call)
const resources = async (id: string) => (await service.listResources({ id }, call)).resources
const list = async (...filters: string[]) => (await service.list({ filters }, call)).leases.map(({ id }) => id)
const counters = async () =>
  Object.fromEntries((await metadata.all(namespace, tables.gcCounters)).map(([k, v]) => [k, Number(v)]))

describe('create', () => {
  test('keeps id and labels, on the server’s clock', async () => {
    const id = 'any bytes/é -'
    const { lease } = await create(id, { 'containerd.io/gc.flat': 'x', none: '', long: 'v'.repeat(10_000) })
    expect(lease).toMatchObject({ id, labels: { 'containerd.io/gc.flat': 'x', long: 'v'.repeat(10_000) } })
    expect(lease?.labels).not.toHaveProperty('none')
    expect(lease?.createdAt?.seconds).toBeGreaterThan(1_600_000_000)
    expect((await service.list({ filters: [] }, call)).leases).toEqual([lease])
  })

  test('makes an id when none is given', async () => {
    const ids = await Promise.all([1, 2, 3].map(async () => (await create('')).lease?.id))
    for (const id of ids) expect(id).toMatch(/^\d{19}-[\w-]{4}$/)
    expect(new Set(ids).size).toBe(3)
  })

  test('twenty at once: one wins', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => create('L')))
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        expect(outcome.reason).toMatchObject({ code: status.ALREADY_EXISTS, message: 'lease "L": already exists' })
  })

  test('needs a namespace, and raises no event', async () => {
    await expect(service.create({ id: 'L', labels: {} }, makeCall())).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
    })
    await create('L')
    expect(await outboxOf(metadata, namespace)).toEqual([])
  })
})

describe('list', () => {
  test('is in byte order, by id and labels', async () => {
    await create('b', { k: '1' })
    await create('a', { k: '2' })
    await create('B')
    expect(await list()).toEqual(['B', 'a', 'b'])
    expect(await list('id==a', 'labels.k==1')).toEqual(['a', 'b'])
    await expect(list('id==')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })
})

describe('resources', () => {
  test('are listed as content, images, ingests, snapshots; twice is once', async () => {
    await create('L')
    await add('L', 'snapshots/overlayfs', 'extract-1 sha256:x')
    await add('L', 'ingests', 'layer-sha256:x')
    await add('L', 'snapshots/native', 'k')
    await add('L', 'images', 'docker.io/library/a:1')
    await add('L', 'content', digest)
    await add('L', 'content', digest)
    expect(await resources('L')).toEqual([
      { type: 'content', id: digest },
      { type: 'images', id: 'docker.io/library/a:1' },
      { type: 'ingests', id: 'layer-sha256:x' },
      { type: 'snapshots/native', id: 'k' },
      { type: 'snapshots/overlayfs', id: 'extract-1 sha256:x' },
    ])
    await drop('L', 'snapshots/native', 'k')
    await drop('L', 'images', 'never there')
    expect((await resources('L')).map(({ type }) => type)).toEqual([
      'content',
      'images',
      'ingests',
      'snapshots/overlayfs',
    ])
  })

  test.each([
    [
      'content',
      'sha256:ab',
      status.INVALID_ARGUMENT,
      'invalid content resource id sha256:ab: invalid checksum digest length',
    ],
    ['content', 'ab', status.INVALID_ARGUMENT, 'invalid content resource id ab: invalid checksum digest format'],
    ['content', 'md5:ab', status.INVALID_ARGUMENT, 'invalid content resource id md5:ab: unsupported digest algorithm'],
    ['snapshots', 'k', status.INVALID_ARGUMENT, 'invalid snapshot resource type snapshots'],
    ['snapshots/', 'k', status.INVALID_ARGUMENT, 'invalid snapshot resource type snapshots/'],
    ['content/x', digest, status.INVALID_ARGUMENT, 'invalid resource type content/x'],
    ['images/x', 'i', status.INVALID_ARGUMENT, 'invalid resource type images/x'],
    ['ingests/x', 'i', status.INVALID_ARGUMENT, 'invalid resource type ingests/x'],
    ['streams', 's', status.UNIMPLEMENTED, 'resource type streams not supported yet'],
    ['', '', status.UNIMPLEMENTED, 'resource type  not supported yet'],
  ])('%s %s is refused', async (type, id, code, message) => {
    await create('L')
    for (const attempt of [add('L', type, id), drop('L', type, id)])
      await expect(attempt).rejects.toMatchObject({ code, message: expect.stringMatching(new RegExp(`^${message}: `)) })
    await expect(service.addResource({ id: 'L', resource: undefined }, call)).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
    })
    expect(await resources('L')).toEqual([])
  })

  test('an unknown lease is NOT_FOUND and gets nothing', async () => {
    const error = { code: status.NOT_FOUND, message: 'lease "L": not found' }
    await expect(add('L', 'images', 'i')).rejects.toMatchObject(error)
    await expect(drop('L', 'images', 'i')).rejects.toMatchObject(error)
    await expect(resources('L')).rejects.toMatchObject(error)
    await expect(service.delete({ id: 'L', sync: true }, call)).rejects.toMatchObject(error)
    expect(await metadata.size(namespace, leaseTable('L'))).toBe(0)
  })
})

describe('delete', () => {
  test('takes the list of resources along, so that a lease of the same name begins empty', async () => {
    await create('L')
    await add('L', 'images', 'i')
    await service.delete({ id: 'L', sync: false }, call)
    expect(await metadata.size(namespace, leaseTable('L'))).toBe(0)
    await create('L')
    expect(await resources('L')).toEqual([])
  })

  test('counts as a deletion, as does giving up a resource', async () => {
    await create('L')
    await drop('L', 'images', 'i')
    expect((await counters()).deletions).toBe(1)
    await service.delete({ id: 'L', sync: false }, call)
    expect((await counters()).deletions).toBe(2)
  })

  test('synchronous: answers after the collection', async () => {
    await create('L')
    const order: string[] = []
    collect = async () => {
      order.push(`collected with leases ${await list()}`)
      return CollectResponse.fromPartial({})
    }
    await service.delete({ id: 'L', sync: true }, call)
    expect(order).toEqual(['collected with leases '])
  })

  test('synchronous and the collection fails: says so, the lease is gone', async () => {
    await create('L')
    collect = () => Promise.reject(unavailable('no'))
    await expect(service.delete({ id: 'L', sync: true }, call)).rejects.toMatchObject({
      code: status.UNKNOWN,
      message: 'gc failed',
    })
    expect(await list()).toEqual([])
  })
})

test('a running collection is told of new leases and of what joins them', async () => {
  await metadata.redis.hset(keyOf(namespace, tables.gcRun), 'id', '1')
  await create('L')
  await add('L', 'content', digest)
  await drop('L', 'content', digest)
  expect(await metadata.redis.lrange(keyOf(namespace, tables.gcDirty), 0, -1)).toEqual([
    'leases\0L',
    `content\0${digest}`,
  ])
})

test('answers over gRPC with the codes and texts that clients read', async () => {
  await using world = await tempWorld()
  await using server = createRpcServer()
  server.add(LeasesDefinition, service)
  const connection = connect(await server.listen(`unix://${world.join('leases.sock')}`))
  const client = clientOf(LeasesDefinition, connection)
  await client.create({ id: 'L', labels: { k: 'v' } }, call)
  await expect(client.create({ id: 'L', labels: {} }, call)).rejects.toMatchObject({
    code: status.ALREADY_EXISTS,
    message: 'lease "L": already exists',
  })
  expect((await client.list({ filters: ['labels.k==v'] }, call)).leases).toHaveLength(1)
  connection.close()
})
