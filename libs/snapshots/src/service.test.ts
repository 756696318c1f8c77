import { SnapshotCommit, SnapshotPrepare, SnapshotRemove } from '@flotilla/api/containerd/events/events'
import { Kind, SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { leaseTable, snapshotTable, tables, trashTable } from '@flotilla/metadata'
import { clientOf, connect, createRpcServer, makeCall, status, unavailable } from '@flotilla/rpc'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { tempWorld } from '@flotilla/testing'
import { outboxOf } from '@flotilla/testing/metadata-suite'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createSnapshotsService } from './service.ts'
import { node, startSnapshots, type TestSnapshots } from './testing/fixture.ts'

// Others may keep the machine busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const snapshotter = 'overlayfs'
const nodeLabel = { 'flotilla.io/node': node }
const table = snapshotTable(node, snapshotter)

let tested: TestSnapshots
let namespace: string
let call = makeCall()
let made = 0

beforeAll(async () => {
  tested = await startSnapshots(overlayfs())
})
afterAll(async () => {
  await tested?.[Symbol.asyncDispose]()
})
beforeEach(() => {
  namespace = `ns-${++made}`
  call = makeCall({ namespace })
})

type Labels = Record<string, string>
const prepare = (key: string, parent = '', labels: Labels = {}, by = call) =>
  tested.service.prepare({ snapshotter, key, parent, labels }, by)
const view = (key: string, parent = '', by = call) => tested.service.view({ snapshotter, key, parent, labels: {} }, by)
const commit = (name: string, key: string, labels: Labels = {}, by = call, parent = '') =>
  tested.service.commit({ snapshotter, name, key, labels, parent }, by)
const remove = (key: string, by = call) => tested.service.remove({ snapshotter, key }, by)
const stat = async (key: string) => (await tested.service.stat({ snapshotter, key }, call)).info!
const update = async (name: string, labels: Labels, updateMask?: string[]) => {
  const info = { name, labels, parent: '', kind: Kind.UNKNOWN, createdAt: undefined, updatedAt: undefined }
  return (await tested.service.update({ snapshotter, info, updateMask }, call)).info!
}
const lease = async (id: string) => {
  await tested.metadata.transact(namespace, { writes: [{ op: 'set', table: tables.leases, field: id, value: '' }] })
  return makeCall({ namespace, lease: id })
}
const held = async (id: string) =>
  (await tested.metadata.members(namespace, leaseTable(id))).map((member) => member.replace('\0', ' '))
const counters = () => tested.metadata.all(namespace, tables.gcCounters)

describe('a request', () => {
  test('names a snapshotter that the node has, and a namespace', async () => {
    const none = makeCall()
    for (const [name, message] of [
      ['', 'snapshotter argument missing: invalid argument'],
      ['nosuch', 'snapshotter not loaded: nosuch: invalid argument'],
    ] as const) {
      const request = { snapshotter: name, key: 'k', parent: '', labels: {}, name: 'n', info: undefined, filters: [] }
      const { list, ...unary } = tested.service
      for (const method of Object.values(unary))
        await expect(method({ ...request, updateMask: undefined }, none)).rejects.toMatchObject({
          code: status.INVALID_ARGUMENT,
          message,
        })
      await expect(list(request, none)[Symbol.asyncIterator]().next()).rejects.toMatchObject({ message })
    }
    await expect(prepare('k', '', {}, none)).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      message: 'namespace is required: failed precondition',
    })
  })

  test('with an empty key, name or info is refused', async () => {
    const code = status.INVALID_ARGUMENT
    await expect(prepare('')).rejects.toMatchObject({ code })
    await expect(view('')).rejects.toMatchObject({ code })
    await prepare('k')
    await expect(commit('', 'k')).rejects.toMatchObject({ code })
    await expect(commit('n', '')).rejects.toMatchObject({ code })
    await expect(update('', {})).rejects.toMatchObject({ code, message: 'invalid argument' })
    await expect(
      tested.service.update({ snapshotter, info: undefined, updateMask: undefined }, call),
    ).rejects.toMatchObject({ code })
  })

  test('for Cleanup is answered as clients expect', async () => {
    await expect(tested.service.cleanup({ snapshotter }, call)).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
      message: 'snapshotter does not implement Cleanup method: not implemented',
    })
  })

  test('with a filter that cannot be read is INVALID_ARGUMENT', async () => {
    const list = tested.service.list({ snapshotter, filters: ['name=='] }, call)
    await expect(list[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })

  test('names its node, which has snapshots of its own', async () => {
    const asked: string[] = []
    const drivers = (name: string) => {
      asked.push(name)
      return tested.drivers
    }
    const service = createSnapshotsService({ metadata: tested.metadata, drivers, localNode: 'here' })
    const there = makeCall({ namespace, metadata: { 'flotilla-node': 'there' } })
    await service.prepare({ snapshotter, key: 'k', parent: '', labels: {} }, there)
    expect(new Set(asked)).toEqual(new Set(['there']))
    await expect(service.stat({ snapshotter, key: 'k' }, call)).rejects.toMatchObject({ code: status.NOT_FOUND })
    expect((await service.stat({ snapshotter, key: 'k' }, there)).info?.labels).toEqual({ 'flotilla.io/node': 'there' })
    expect(await tested.metadata.members(namespace, tables.snapshotStores)).toEqual(['there/overlayfs'])
  })

  test('travels over gRPC', async () => {
    await using world = await tempWorld()
    const server = createRpcServer()
    server.add(SnapshotsDefinition, tested.service)
    await server.listen(`unix:${world.join('socket')}`)
    const channel = connect(`unix:${world.join('socket')}`)
    const client = clientOf(SnapshotsDefinition, channel)
    await client.prepare({ snapshotter, key: 'k', parent: '', labels: { a: 'b' } }, call)
    const groups = []
    for await (const { info } of client.list({ snapshotter, filters: [] }, call)) groups.push(info)
    expect(groups).toEqual([[await stat('k')]])
    channel.close()
    await server.close()
  })
})

describe('labels', () => {
  const full = (label: string) => ({ [label]: 'x'.repeat(4097 - label.length) })

  test('belong to one record: the committed one has those of Commit', async () => {
    await prepare('k', '', { active: 'yes', empty: '' })
    expect((await stat('k')).labels).toEqual({ active: 'yes', ...nodeLabel })
    await commit('n', 'k', { committed: 'yes', empty: '' })
    expect((await stat('n')).labels).toEqual({ committed: 'yes', ...nodeLabel })
  })

  test('too long are refused everywhere, and nothing is made', async () => {
    const message = expect.stringMatching(/^info\.Labels: label key and value length \(4097 bytes\) greater/)
    const refused = { code: status.INVALID_ARGUMENT, message }
    const before = await tested.directories()
    await expect(prepare('k', '', full('l'))).rejects.toMatchObject(refused)
    expect(await tested.directories()).toEqual(before)
    await prepare('k')
    await expect(commit('n', 'k', full('l'))).rejects.toMatchObject(refused)
    await expect(update('k', full('l'))).rejects.toMatchObject(refused)
    await expect(update('k', full('l'), ['labels.l'])).rejects.toMatchObject(refused)
  })

  test('are updated by mask, or all without one, and the answer has those of the client alone', async () => {
    await prepare('k', '', { a: '1', b: '2' })
    const before = await stat('k')
    expect((await update('k', { a: '3', c: '4' }, ['labels.a', 'labels.b'])).labels).toEqual({ a: '3' })
    expect((await update('k', { 'x.y/z': '5' }, ['labels.x.y/z'])).labels).toEqual({
      a: '3',
      'x.y/z': '5',
    })
    const after = await update('k', { only: 'this', gone: '' })
    expect(after.labels).toEqual({ only: 'this' })
    expect(after).toMatchObject({ createdAt: before.createdAt, kind: Kind.ACTIVE, name: 'k' })
    expect(after.updatedAt).not.toEqual(before.updatedAt)
    expect(await stat('k')).toEqual({ ...after, labels: { only: 'this', ...nodeLabel } })
    await commit('n', 'k')
    expect((await update('n', { a: '1' }, ['labels'])).labels).toEqual({ a: '1' })
  })

  test('are all that can be updated, and one bad path changes nothing', async () => {
    await prepare('k', '', { a: '1' })
    for (const path of ['name', 'parent', 'kind', 'labels.', 'nonsense'])
      await expect(update('k', { a: '2' }, ['labels.a', path])).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        message: `cannot update "${path}" field on snapshot "k": invalid argument`,
      })
    expect((await stat('k')).labels).toEqual({ a: '1', ...nodeLabel })
    await expect(update('none', {})).rejects.toMatchObject({ code: status.NOT_FOUND })
  })

  test('that say the node are ours: what a client sends back is not stored', async () => {
    await prepare('k', '', { 'flotilla.io/node': 'elsewhere', a: '1' })
    expect((await stat('k')).labels).toEqual({ a: '1', ...nodeLabel })
    await update('k', { 'flotilla.io/node': 'elsewhere' })
    expect((await stat('k')).labels).toEqual(nodeLabel)
  })

  test('meant for drivers reach the driver, others do not', async () => {
    const seen: Labels[] = []
    const drivers = () => ({
      ...tested.drivers,
      create: (request: { labels: Labels } & Parameters<typeof tested.drivers.create>[0], by: typeof call) => {
        seen.push(request.labels)
        return tested.drivers.create(request, by)
      },
    })
    const service = createSnapshotsService({ metadata: tested.metadata, drivers, localNode: node })
    const labels = { 'containerd.io/snapshot/a': '1', 'containerd.io/snapshot.ref': 'n', 'containerd.io/gc.root': 'x' }
    await service.prepare({ snapshotter, key: 'k', parent: '', labels }, call)
    expect(seen).toEqual([{ 'containerd.io/snapshot/a': '1', 'containerd.io/snapshot.ref': 'n' }])
  })
})

describe('a lease', () => {
  test('holds what was prepared, then what it was committed as, then nothing', async () => {
    const by = await lease('l')
    await prepare('k', '', {}, by)
    await view('v', '', by)
    expect(await held('l')).toEqual(['snapshots/overlayfs k', 'snapshots/overlayfs v'])
    await commit('n', 'k', {}, by)
    await remove('v', by)
    expect(await held('l')).toEqual(['snapshots/overlayfs n'])
    await remove('n', by)
    expect(await held('l')).toEqual([])
  })

  test('holds what exists already', async () => {
    await prepare('k')
    await prepare('x')
    await commit('n', 'x')
    await prepare('y')
    const by = await lease('l')
    const exists = { code: status.ALREADY_EXISTS }
    await expect(prepare('k', '', {}, by)).rejects.toMatchObject(exists)
    expect(await held('l')).toEqual(['snapshots/overlayfs k'])
    await expect(commit('n', 'y', {}, by)).rejects.toMatchObject(exists)
    expect(await held('l')).toEqual(['snapshots/overlayfs k', 'snapshots/overlayfs n'])
    const other = await lease('other')
    await expect(prepare('z', '', { 'containerd.io/snapshot.ref': 'n' }, other)).rejects.toMatchObject(exists)
    expect(await held('other')).toEqual(['snapshots/overlayfs n'])
  })

  test('that is unknown refuses, and leaves neither record nor directory', async () => {
    await prepare('a')
    const before = await tested.directories()
    const by = makeCall({ namespace, lease: 'none' })
    const refused = { code: status.NOT_FOUND, message: 'lease does not exist: not found' }
    await expect(prepare('k', '', {}, by)).rejects.toMatchObject(refused)
    await expect(view('k', '', by)).rejects.toMatchObject(refused)
    await expect(prepare('a', '', {}, by)).rejects.toMatchObject(refused)
    await expect(commit('n', 'a', {}, by)).rejects.toMatchObject(refused)
    expect(await tested.directories()).toEqual(before)
    expect((await tested.metadata.all(namespace, table)).map(([key]) => key)).toEqual(['a'])
    await remove('a', by)
  })
})

describe('what goes with a change', () => {
  test('an event for Prepare, Commit and Remove, none for View and what is refused', async () => {
    await prepare('base')
    await commit('n', 'base')
    await prepare('k', 'n')
    await view('v', 'n')
    await expect(prepare('k')).rejects.toThrow()
    await expect(remove('n')).rejects.toThrow()
    await remove('v')
    await remove('k')
    const events = await outboxOf(tested.metadata, namespace)
    expect(events.map(({ topic, type }) => `${topic} ${type}`)).toEqual([
      '/snapshot/prepare containerd.events.SnapshotPrepare',
      '/snapshot/commit containerd.events.SnapshotCommit',
      '/snapshot/prepare containerd.events.SnapshotPrepare',
      '/snapshot/remove containerd.events.SnapshotRemove',
      '/snapshot/remove containerd.events.SnapshotRemove',
    ])
    const values = events.map(({ value }) => value)
    expect(SnapshotCommit.decode(values[1]!)).toEqual({ key: 'base', name: 'n', snapshotter })
    expect(SnapshotPrepare.decode(values[2]!)).toEqual({ key: 'k', parent: 'n', snapshotter })
    expect(SnapshotRemove.decode(values[4]!)).toEqual({ key: 'k', snapshotter })
  })

  test('a removal fills the trash and counts as a deletion', async () => {
    await prepare('k')
    const before = await tested.directories()
    await remove('k')
    expect(await tested.directories()).toEqual(before)
    const trash = await tested.metadata.members(namespace, trashTable(node, snapshotter))
    expect(trash).toEqual([expect.stringMatching(/^\d+$/)])
    expect(before).toContain(trash[0])
    expect(Object.fromEntries((await counters()).map(([name, value]) => [name, String(value)]))).toMatchObject({
      deletions: '1',
    })
  })

  test('a running collection is told what was made, relabelled or committed', async () => {
    await tested.metadata.transact(namespace, {
      writes: [{ op: 'set', table: tables.gcRun, field: 'run', value: '1' }],
    })
    await prepare('k')
    await update('k', { a: '1' })
    await commit('n', 'k')
    const dirty = await tested.metadata.redis.lrange(`fl:{${namespace}}:${tables.gcDirty}`, 0, -1)
    expect(dirty.map((member) => member.split('\0')[1])).toEqual(['k', 'k', 'n'])
  })
})

describe('when the node or the store fails', () => {
  type Drivers = typeof tested.drivers
  const withDrivers = (changes: Partial<Drivers>, metadata = tested.metadata) =>
    createSnapshotsService({ metadata, drivers: () => ({ ...tested.drivers, ...changes }), localNode: node })
  const request = { snapshotter, key: 'k', parent: '', labels: {} }

  test('a node that is away is UNAVAILABLE, but records can be read once it is known', async () => {
    await prepare('k')
    const away = () => Promise.reject(unavailable(`node "${node}" is not there`))
    const unknownNode = withDrivers({ list: away })
    await expect(unknownNode.stat(request, call)).rejects.toMatchObject({ code: status.UNAVAILABLE })
    let there = true
    const known = withDrivers({ list: (...args) => (there ? tested.drivers.list(...args) : away()), mounts: away })
    await known.stat(request, call)
    there = false
    expect((await known.stat(request, call)).info?.name).toBe('k')
    await expect(known.mounts(request, call)).rejects.toMatchObject({ code: status.UNAVAILABLE })
  })

  test('a directory whose mounts cannot be had is removed, and nothing recorded', async () => {
    const before = await tested.directories()
    const service = withDrivers({ mounts: () => Promise.reject(unavailable('just now')) })
    await expect(service.prepare(request, call)).rejects.toMatchObject({ code: status.UNAVAILABLE })
    expect(await tested.directories()).toEqual(before)
    expect(await tested.metadata.size(namespace, table)).toBe(0)
  })

  test('a directory stays when nobody knows whether it was recorded', async () => {
    const before = await tested.directories()
    // The change is made, its answer is lost.
    const metadata = {
      ...tested.metadata,
      async transact(...args: Parameters<typeof tested.metadata.transact>): Promise<never> {
        await tested.metadata.transact(...args)
        throw unavailable('metadata store: connection lost')
      },
    }
    await expect(withDrivers({}, metadata).prepare(request, call)).rejects.toMatchObject({ code: status.UNAVAILABLE })
    expect((await tested.directories()).length).toBe(before.length + 1)
    expect((await tested.service.mounts(request, call)).mounts).toHaveLength(1)
  })

  test('a parent that changes while a child is made is looked at again', async () => {
    await prepare('base')
    await commit('n', 'base')
    let changes = 0
    const service = withDrivers({
      create: async (...args) => {
        if (changes++ < 2) await update('n', { changed: String(changes) })
        return await tested.drivers.create(...args)
      },
    })
    const before = await tested.directories()
    await service.prepare({ ...request, parent: 'n' }, call)
    expect(changes).toBe(3)
    expect((await tested.directories()).length).toBe(before.length + 1)
  })

  test('a parent that is replaced while a child is made is not mixed up with the old one', async () => {
    await prepare('base')
    await commit('n', 'base')
    let replaced = false
    const service = withDrivers({
      create: async (...args) => {
        if (!replaced) {
          replaced = true
          await remove('n')
          await prepare('base')
          await commit('n', 'base')
        }
        return await tested.drivers.create(...args)
      },
    })
    const { mounts } = await service.prepare({ ...request, parent: 'n' }, call)
    const [parent] = (await tested.service.view({ ...request, key: 'v', parent: 'n' }, call)).mounts
    expect(mounts[0]?.options).toContain(`lowerdir=${parent?.source}`)
  })
})
