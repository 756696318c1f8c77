import {
  Image,
  ImageCreate,
  ImageDelete,
  ImagesDefinition,
  ImageUpdate,
} from '@flotilla/api/containerd/services/images/v1/images'
import { CollectResponse } from '@flotilla/api/flotilla/gc/v1/gc'
import { createMetadata, keyOf, leaseTable, type Metadata, tables } from '@flotilla/metadata'
import { type Call, clientOf, connect, createRpcServer, makeCall, status, unavailable } from '@flotilla/rpc'
import { startRedis, type TestRedis, tempWorld } from '@flotilla/testing'
import { outboxOf } from '@flotilla/testing/metadata-suite'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createImagesService } from './service.ts'

let redis: TestRedis
let metadata: Metadata
let service: ReturnType<typeof createImagesService>
let collect: (call: Call) => Promise<CollectResponse>
let namespace: string
let call: Call
let made = 0

beforeAll(async () => {
  redis = await startRedis({ relaxed: true })
  metadata = await createMetadata({ url: redis.url, origin: 'test' })
  service = createImagesService({ metadata, collector: { collect: (_, call) => collect(call) } })
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

const sha256 = (digit: string) => `sha256:${digit.repeat(64)}`
const target = (digit = 'a', annotations: Record<string, string> = {}) => ({
  mediaType: 'application/vnd.oci.image.index.v1+json',
  digest: sha256(digit),
  size: 7,
  annotations,
})
const create = (image: Parameters<typeof Image.fromPartial>[0], by = call) =>
  service.create({ image: Image.fromPartial(image), sourceDateEpoch: undefined }, by)
const update = (image: Parameters<typeof Image.fromPartial>[0], updateMask?: string[], by = call) =>
  service.update({ image: Image.fromPartial(image), updateMask, sourceDateEpoch: undefined }, by)
const get = async (name: string) => (await service.get({ name }, call)).image!
const remove = (name: string, digest?: string, by = call) =>
  service.delete({ name, sync: false, target: digest === undefined ? undefined : { ...target(), digest } }, by)
const list = async (...filters: string[]) => (await service.list({ filters }, call)).images.map(({ name }) => name)
const lease = (id: string) =>
  metadata.transact(namespace, { writes: [{ op: 'set', table: tables.leases, field: id, value: '' }] })
const expiring = { 'containerd.io/gc.expire': '2030-01-01T00:00:00Z' }

describe('create', () => {
  test('stores what the request has, on the server’s clock', async () => {
    const name = 'docker.io/library/a:1 with any bytes/é'
    const sent = { name, labels: { a: '1', none: '' }, target: target('a', { k: 'v' }) }
    const { image } = await create({ ...sent, createdAt: { seconds: -62135596800, nanos: 0 } })
    expect(image).toMatchObject({ name, labels: { a: '1' }, target: target('a', { k: 'v' }) })
    expect(image?.labels).toEqual({ a: '1' })
    expect(image?.createdAt?.seconds).toBeGreaterThan(1_600_000_000)
    expect(image?.updatedAt).toEqual(image?.createdAt)
    expect(await get(name)).toEqual(image)
  })

  test('takes its times from source_date_epoch', async () => {
    const epoch = { seconds: 5, nanos: 6 }
    const image = Image.fromPartial({ name: 'a', target: target() })
    const answer = await service.create({ image, sourceDateEpoch: epoch }, call)
    expect(answer.image).toMatchObject({ createdAt: epoch, updatedAt: epoch })
  })

  test('tells of it under the type that clients decode by', async () => {
    await create({ name: 'a', labels: { x: 'y' }, target: target() })
    const [event] = await outboxOf(metadata, namespace)
    expect(event).toMatchObject({ topic: '/images/create', type: 'containerd.services.images.v1.ImageCreate' })
    expect(ImageCreate.decode(event!.value)).toEqual({ name: 'a', labels: { x: 'y' } })
  })

  test.each([
    ['no name', { target: target() }, 'Image.Name required: invalid argument'],
    ['no image', undefined, 'Image.Name required: invalid argument'],
    [
      'too long a label',
      { name: 'a', labels: { k: 'v'.repeat(4096) }, target: target() },
      'image.Labels: label key and value length (4097 bytes) greater than maximum size (4096 bytes), key: k: invalid argument',
    ],
    [
      'a label without key',
      { name: 'a', labels: { '': 'v' }, target: target() },
      'image.Labels: label key must not be empty: invalid argument',
    ],
    ['no target', { name: 'a' }, 'target.Digest "" invalid: invalid checksum digest format: invalid argument'],
    [
      'a digest without algorithm',
      { name: 'a', target: { ...target(), digest: 'abc' } },
      'target.Digest "abc" invalid: invalid checksum digest format: invalid argument',
    ],
    [
      'upper case',
      { name: 'a', target: { ...target(), digest: sha256('A') } },
      `target.Digest "${sha256('A')}" invalid: invalid checksum digest format: invalid argument`,
    ],
    [
      'a short digest',
      { name: 'a', target: { ...target(), digest: 'sha256:ab' } },
      'target.Digest "sha256:ab" invalid: invalid checksum digest length: invalid argument',
    ],
    [
      'an unknown algorithm',
      { name: 'a', target: { ...target(), digest: 'md5:ab' } },
      'target.Digest "md5:ab" invalid: unsupported digest algorithm: invalid argument',
    ],
    [
      'no size',
      { name: 'a', target: { ...target(), size: 0 } },
      'target.Size must be greater than zero: invalid argument',
    ],
    [
      'no media type',
      { name: 'a', target: { ...target(), mediaType: '' } },
      'target.MediaType must be set: invalid argument',
    ],
  ])('refuses %s', async (_, image, message) => {
    const request = { image: image && Image.fromPartial(image), sourceDateEpoch: undefined }
    await expect(service.create(request, call)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, message })
    expect(await list()).toEqual([])
  })

  test('accepts sha384 and sha512', async () => {
    await create({ name: '384', target: { ...target(), digest: `sha384:${'a'.repeat(96)}` } })
    await create({ name: '512', target: { ...target(), digest: `sha512:${'a'.repeat(128)}` } })
    expect(await list()).toEqual(['384', '512'])
  })

  test('fifty at once: one wins, one event', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, (_, i) => create({ name: 'a', labels: { by: String(i) }, target: target() })),
    )
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        expect(outcome.reason).toMatchObject({ code: status.ALREADY_EXISTS, message: 'image "a": already exists' })
    expect(await outboxOf(metadata, namespace)).toHaveLength(1)
  })

  test('needs a namespace', async () => {
    await expect(create({ name: 'a', target: target() }, makeCall())).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      message: 'namespace is required: failed precondition',
    })
  })
})

describe('get and list', () => {
  test('an unknown image is NOT_FOUND', async () => {
    await expect(get('x')).rejects.toMatchObject({ code: status.NOT_FOUND, message: 'image "x": not found' })
  })

  test('lists in byte order, filtered by any of the filters', async () => {
    for (const name of ['b', 'B', 'a']) await create({ name, labels: { is: name }, target: target(name.toLowerCase()) })
    expect(await list()).toEqual(['B', 'a', 'b'])
    expect(await list('')).toEqual(['B', 'a', 'b'])
    expect(await list('name==a', 'labels.is==B')).toEqual(['B', 'a'])
    expect(await list(`target.digest==${sha256('b')},name!=B`)).toEqual(['b'])
    await expect(list('name==/x')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })

  test('another namespace sees nothing of it', async () => {
    await create({ name: 'a', target: target() })
    const other = makeCall({ namespace: `${namespace}-other` })
    expect(await service.list({ filters: [] }, other)).toEqual({ images: [] })
  })
})

describe('update', () => {
  test('without paths replaces labels and target, keeps the time of creation', async () => {
    const { image: first } = await create({ name: 'a', labels: { old: '1' }, target: target('a', { k: 'v' }) })
    const { image } = await update({ name: 'a', labels: { new: '1', none: '' }, target: target('b') }, [])
    expect(image).toMatchObject({ labels: { new: '1' }, target: target('b'), createdAt: first?.createdAt })
    expect(image?.labels).toEqual({ new: '1' })
    expect(image?.updatedAt).not.toEqual(first?.updatedAt)
    expect(await get('a')).toEqual(image)
  })

  test.each([
    ['labels', { labels: { b: '2' }, target: target('a', { k: 'v', l: 'w' }) }],
    ['labels.b', { labels: { a: '1', b: '2' }, target: target('a', { k: 'v', l: 'w' }) }],
    ['labels.a', { labels: {}, target: target('a', { k: 'v', l: 'w' }) }],
    ['target', { labels: { a: '1' }, target: target('b', { k: 'new' }) }],
    ['annotations', { labels: { a: '1' }, target: target('a', { k: 'new' }) }],
    ['annotations.k', { labels: { a: '1' }, target: target('a', { k: 'new', l: 'w' }) }],
    ['annotations.l', { labels: { a: '1' }, target: target('a', { k: 'v' }) }],
  ])('the path %s changes only that', async (path, expected) => {
    await create({ name: 'a', labels: { a: '1' }, target: target('a', { k: 'v', l: 'w' }) })
    const { image } = await update({ name: 'a', labels: { b: '2' }, target: target('b', { k: 'new' }) }, [path])
    expect({ labels: image?.labels, target: image?.target }).toEqual(expected)
  })

  test('a key is all that follows the first dot', async () => {
    await create({ name: 'a', labels: { 'containerd.io/gc.ref.content.0': 'x' }, target: target() })
    await update({ name: 'a', labels: { 'containerd.io/gc.ref.content.0': 'y' } }, [
      'labels.containerd.io/gc.ref.content.0',
    ])
    expect((await get('a')).labels).toEqual({ 'containerd.io/gc.ref.content.0': 'y' })
  })

  test.each(['name', 'created_at', 'target.digest', 'labels.', 'nonsense'])('refuses the path %s', async (path) => {
    await create({ name: 'a', labels: { a: '1' }, target: target() })
    await expect(update({ name: 'a', labels: { a: '2' } }, ['labels.a', path])).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: `cannot update "${path}" field on image "a": invalid argument`,
    })
    expect((await get('a')).labels).toEqual({ a: '1' })
  })

  test('validates the result', async () => {
    await create({ name: 'a', target: target() })
    await expect(update({ name: 'a', labels: { x: 'y' } })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: 'target.Digest "" invalid: invalid checksum digest format: invalid argument',
    })
  })

  test('an unknown image is NOT_FOUND, an unnamed one INVALID_ARGUMENT', async () => {
    await expect(update({ name: 'x' }, ['nonsense'])).rejects.toMatchObject({ code: status.NOT_FOUND })
    await expect(update({})).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
    await expect(
      service.update({ image: undefined, updateMask: undefined, sourceDateEpoch: undefined }, call),
    ).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, message: 'Image.Name required: invalid argument' })
  })

  test('tells of it, with the labels as they became', async () => {
    await create({ name: 'a', labels: { a: '1' }, target: target() })
    await update({ name: 'a', labels: { b: '2' } }, ['labels.b'])
    const event = (await outboxOf(metadata, namespace)).at(-1)
    expect(event).toMatchObject({ topic: '/images/update', type: 'containerd.services.images.v1.ImageUpdate' })
    expect(ImageUpdate.decode(event!.value)).toEqual({ name: 'a', labels: { a: '1', b: '2' } })
  })

  test('source_date_epoch is the time of the update', async () => {
    await create({ name: 'a', target: target() })
    const image = Image.fromPartial({ name: 'a', target: target() })
    const epoch = { seconds: 5, nanos: 6 }
    const answer = await service.update({ image, updateMask: undefined, sourceDateEpoch: epoch }, call)
    expect(answer.image?.updatedAt).toEqual(epoch)
    expect(answer.image?.createdAt).not.toEqual(epoch)
  })

  test('fifty at once all land', async () => {
    await create({ name: 'a', target: target() })
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => update({ name: 'a', labels: { [`k${i}`]: 'v' } }, [`labels.k${i}`])),
    )
    expect(Object.keys((await get('a')).labels)).toHaveLength(50)
    expect(await outboxOf(metadata, namespace)).toHaveLength(51)
  })
})

describe('delete', () => {
  test('removes and tells of it', async () => {
    await create({ name: 'a', target: target() })
    await remove('a')
    expect(await list()).toEqual([])
    const event = (await outboxOf(metadata, namespace)).at(-1)
    expect(event).toMatchObject({ topic: '/images/delete', type: 'containerd.services.images.v1.ImageDelete' })
    expect(ImageDelete.decode(event!.value)).toEqual({ name: 'a' })
    expect(String(await metadata.get(namespace, tables.gcCounters, 'deletions'))).toBe('1')
    await expect(remove('a')).rejects.toMatchObject({ code: status.NOT_FOUND, message: 'image "a": not found' })
  })

  test('with a target, only while that is the image’s', async () => {
    await create({ name: 'a', target: target('a') })
    await expect(remove('a', sha256('b'))).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: `image "a" has target ${sha256('a')}, not ${sha256('b')}: not found`,
    })
    await remove('a', sha256('a'))
    await expect(remove('a', sha256('a'))).rejects.toMatchObject({ message: 'image "a": not found' })
  })

  test('with a target and label changes at the same time still removes', async () => {
    await create({ name: 'a', target: target('a') })
    const updates = Array.from({ length: 20 }, (_, i) => update({ name: 'a', labels: { k: String(i) } }, ['labels.k']))
    await Promise.all([remove('a', sha256('a')), Promise.allSettled(updates)])
    expect(await list()).toEqual([])
  })

  test('synchronously waits for a collection that begins after it', async () => {
    await create({ name: 'a', target: target() })
    const seen: unknown[] = []
    collect = async (asked) => {
      seen.push([asked.namespace, await list()])
      return CollectResponse.fromPartial({})
    }
    await service.delete({ name: 'a', sync: true, target: undefined }, call)
    expect(seen).toEqual([[namespace, []]])
  })

  test('a collection that fails is UNKNOWN, the image is gone', async () => {
    await create({ name: 'a', target: target() })
    collect = () => Promise.reject(unavailable('node n1'))
    await expect(service.delete({ name: 'a', sync: true, target: undefined }, call)).rejects.toMatchObject({
      code: status.UNKNOWN,
      message: 'gc failed',
    })
    expect(await list()).toEqual([])
  })
})

describe('under a lease', () => {
  const leased = () => makeCall({ namespace, lease: 'L' })
  const held = () => metadata.members(namespace, leaseTable('L'))

  test('only an image that expires joins it', async () => {
    await lease('L')
    await create({ name: 'stays', target: target() }, leased())
    expect(await held()).toEqual([])
    await create({ name: 'expires', labels: expiring, target: target() }, leased())
    expect(await held()).toEqual(['images\0expires'])
    await update({ name: 'stays', labels: expiring }, ['labels'], leased())
    expect(await held()).toEqual(['images\0expires', 'images\0stays'])
    await remove('expires', undefined, leased())
    expect(await held()).toEqual(['images\0stays'])
  })

  test('that does not exist an expiring image is refused, and a deletion is not', async () => {
    await expect(create({ name: 'a', labels: expiring, target: target() }, leased())).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: 'lease does not exist: not found',
    })
    expect(await list()).toEqual([])
    await create({ name: 'a', target: target() }, leased())
    await remove('a', undefined, leased())
    expect(await list()).toEqual([])
  })
})

test('a running collection learns of what was made and changed', async () => {
  await metadata.redis.hset(keyOf(namespace, tables.gcRun), 'id', '1')
  await create({ name: 'a', target: target() })
  await update({ name: 'a', target: target('b') })
  expect(await metadata.redis.lrange(keyOf(namespace, tables.gcDirty), 0, -1)).toEqual(['images\0a', 'images\0a'])
})

test('answers over gRPC with the codes and texts that clients read', async () => {
  await using world = await tempWorld()
  await using server = createRpcServer()
  server.add(ImagesDefinition, service)
  const connection = connect(await server.listen(`unix://${world.join('images.sock')}`))
  const client = clientOf(ImagesDefinition, connection)
  await client.create({ image: Image.fromPartial({ name: 'a', target: target() }), sourceDateEpoch: undefined }, call)
  expect((await client.list({ filters: ['name==a'] }, call)).images).toHaveLength(1)
  await expect(client.get({ name: 'b' }, call)).rejects.toMatchObject({
    code: status.NOT_FOUND,
    message: 'image "b": not found',
  })
  connection.close()
})
