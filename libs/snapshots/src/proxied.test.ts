import { setTimeout } from 'node:timers/promises'
import { Info, type SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { alreadyExists, makeCall, type ServiceOf, status, withCall } from '@flotilla/rpc'
import { expect, test, vi } from 'vitest'
import { node } from './testing/fixture.ts'
import { startProxied } from './testing/proxied.ts'

// Others may keep the machine busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const snapshotter = 'native'
const one = makeCall({ namespace: 'one' })
const two = makeCall({ namespace: 'two' })
const target = 'containerd.io/snapshot.ref'
const behind = makeCall({ namespace: 'behind' })
/** What a program may put on snapshots of its own, as stargz-snapshotter does. */
const mark = 'containerd.io/snapshot/remote'
/** What keeps a snapshot from the program's own collector, and its value, the time. */
const root = 'containerd.io/gc.root'
const since = expect.stringMatching(/^\d{4}-.*Z$/)

type Service = ServiceOf<SnapshotsDefinition>

/** A program that has every layer already, and one set of names for all namespaces, as lazy-pulling snapshotters do. */
const lazy = (service: Service): Service => ({
  ...service,
  async prepare(request, call) {
    const here = withCall(call, { namespace: 'behind' })
    const answer = await service.prepare({ ...request, labels: {} }, here)
    const name = request.labels[target]
    if (name === undefined) return answer
    const labels = { ...request.labels, [mark]: 'theirs' }
    await service.commit({ snapshotter, name, key: request.key, labels, parent: '' }, here)
    throw alreadyExists(`target snapshot "${name}"`)
  },
  mounts: (request, call) => service.mounts(request, withCall(call, { namespace: 'behind' })),
  remove: (request, call) => service.remove(request, withCall(call, { namespace: 'behind' })),
  update: (request, call) => service.update(request, withCall(call, { namespace: 'behind' })),
  usage: (request, call) => service.usage(request, withCall(call, { namespace: 'behind' })),
  list: (request, call) => service.list(request, withCall(call, { namespace: 'behind' })),
})

async function names(service: Service, call = behind): Promise<string[]> {
  const found: string[] = []
  for await (const { info } of service.list({ snapshotter, filters: [] }, call)) found.push(...info.map((i) => i.name))
  return found.sort()
}

test('snapshots have names NAMESPACE/ID/KEY over there, in the same namespace', async () => {
  await using world = await startProxied()
  await world.service.prepare({ snapshotter, key: 'a key', parent: '', labels: {} }, one)
  await world.service.prepare({ snapshotter, key: 'a key', parent: '', labels: {} }, two)
  await world.service.commit({ snapshotter, key: 'a key', name: 'done', labels: {}, parent: '' }, one)
  expect(await names(world.backend.service, one)).toEqual(['one/1/done'])
  expect(await names(world.backend.service, two)).toEqual(['two/2/a key'])
  await world.service.remove({ snapshotter, key: 'done' }, one)
  await world.collect()
  expect(await names(world.backend.service, one)).toEqual([])
  expect(await names(world.backend.service, two)).toEqual(['two/2/a key'])
})

test('what another program has already is taken over by the name that was asked for', async () => {
  await using world = await startProxied(lazy)
  const layer = { snapshotter, key: 'extract', parent: '', labels: { [target]: 'chain', other: 'label' } }
  const exists = { code: status.ALREADY_EXISTS, message: expect.stringContaining('target snapshot "chain"') }
  await expect(world.service.prepare(layer, one)).rejects.toMatchObject(exists)
  const { info } = await world.service.stat({ snapshotter, key: 'chain' }, one)
  expect(info).toMatchObject({ name: 'chain', kind: 3, parent: '', labels: { other: 'label', [mark]: 'theirs' } })
  // That is for its collector; ours would keep the snapshot for ever.
  expect(info?.labels).not.toHaveProperty([root])
  // A second time by the record, in another namespace by the program.
  await expect(world.service.prepare(layer, one)).rejects.toMatchObject(exists)
  await expect(world.service.prepare(layer, two)).rejects.toMatchObject(exists)
  await world.service.prepare({ snapshotter, key: 'c', parent: 'chain', labels: {} }, two)
  expect(await names(world.backend.service)).toContain('chain')

  // One of the two may go; the program's goes with the last.
  await world.service.remove({ snapshotter, key: 'chain' }, one)
  await world.collect()
  expect(await names(world.backend.service)).toContain('chain')
  await world.service.remove({ snapshotter, key: 'c' }, two)
  await world.service.remove({ snapshotter, key: 'chain' }, two)
  await world.collect()
  expect(await names(world.backend.service)).toEqual([])
  expect(await world.directories()).toEqual([])
})

test('what is taken over while another namespace removes it stays', async () => {
  let meanwhile = async () => {}
  const removing = Promise.withResolvers<void>()
  await using world = await startProxied((service) => {
    const program = lazy(service)
    return {
      ...program,
      remove(request, call) {
        if (request.key === 'chain') removing.resolve()
        return program.remove(request, call)
      },
      async *list(request, call) {
        const found = await Array.fromAsync(program.list(request, call))
        await meanwhile()
        yield* found
      },
    }
  })
  const layer = { snapshotter, key: 'extract', parent: '', labels: { [target]: 'chain' } }
  const exists = { code: status.ALREADY_EXISTS }
  await expect(world.service.prepare(layer, one)).rejects.toMatchObject(exists)
  await world.service.remove({ snapshotter, key: 'chain' }, one)
  let collected: Promise<void> | undefined
  meanwhile = async () => {
    if (collected !== undefined) return
    collected = world.collect()
    // Long enough for a removal that waits for nobody.
    await Promise.race([removing.promise, setTimeout(500)])
  }
  await expect(world.service.prepare(layer, two)).rejects.toMatchObject(exists)
  await collected
  await world.service.prepare({ snapshotter, key: 'c', parent: 'chain', labels: {} }, two)
  expect(await names(world.backend.service)).toContain('chain')
})

test('what a program has put on its own snapshots stays there when labels change', async () => {
  await using world = await startProxied(lazy)
  const given = 'containerd.io/snapshot/given'
  const labels = { [target]: 'chain', [given]: '1' }
  await expect(world.service.prepare({ snapshotter, key: 'k', parent: '', labels }, one)).rejects.toMatchObject({
    code: status.ALREADY_EXISTS,
  })
  const behindLabels = async () =>
    (await world.backend.service.stat({ snapshotter, key: 'chain' }, behind)).info?.labels
  const update = (changed: Record<string, string>, ...keys: string[]) => {
    const info = Info.fromPartial({ name: 'chain', labels: changed })
    return world.service.update({ snapshotter, info, updateMask: keys.map((key) => `labels.${key}`) }, one)
  }
  const before = await behindLabels()
  await update({ other: 'label' }, 'other')
  expect(await behindLabels()).toEqual(before)
  await update({ [given]: '2', other: 'label' }, given, 'other')
  expect(await behindLabels()).toEqual({ ...before, [given]: '2' })
  await update({}, given)
  const { [given]: _, ...rest } = before ?? {}
  expect(await behindLabels()).toEqual(rest)
  expect(rest).toMatchObject({ [mark]: 'theirs', [target]: 'chain' })
})

test('labels for snapshotters are passed on when they change, others are not', async () => {
  await using world = await startProxied()
  const labels = { 'containerd.io/snapshot/a': '1', 'containerd.io/snapshot/b': '2', other: '3' }
  await world.service.prepare({ snapshotter, key: 'k', parent: '', labels }, one)
  const update = (name: string, changed: Record<string, string>, updateMask?: string[]) =>
    world.service.update({ snapshotter, info: Info.fromPartial({ name, labels: changed }), updateMask }, one)
  const behindLabels = async (key: string) =>
    (await world.backend.service.stat({ snapshotter, key }, one)).info?.labels ?? {}
  await update('k', { 'containerd.io/snapshot/a': 'changed' }, ['labels.containerd.io/snapshot/a'])
  expect(await behindLabels('one/1/k')).toEqual({
    'containerd.io/snapshot/a': 'changed',
    'containerd.io/snapshot/b': '2',
    'flotilla.io/node': node,
    [root]: since,
  })
  await world.service.commit({ snapshotter, key: 'k', name: 'done', labels, parent: '' }, one)
  const written = Array.from({ length: 8 }, (_, index) => ({ 'containerd.io/snapshot/c': String(index) }))
  await Promise.all(written.map((some) => update('done', some)))
  const { info } = await world.service.stat({ snapshotter, key: 'done' }, one)
  expect(await behindLabels('one/1/done')).toEqual({ ...info?.labels, [root]: since })
  await expect(update('absent', {})).rejects.toMatchObject({ code: status.NOT_FOUND })
})

test('the collector of the other program is told that each is wanted', async () => {
  await using world = await startProxied()
  await world.service.prepare({ snapshotter, key: 'active', parent: '', labels: {} }, one)
  await world.service.prepare({ snapshotter, key: 'k', parent: '', labels: {} }, one)
  await world.service.commit({ snapshotter, key: 'k', name: 'done', labels: {}, parent: '' }, one)
  await world.service.view({ snapshotter, key: 'view', parent: 'done', labels: {} }, one)
  await world.backend.collect()
  for (const key of ['one/1/active', 'one/2/done', 'one/3/view']) {
    const { info } = await world.backend.service.stat({ snapshotter, key }, one)
    expect(info?.labels).toMatchObject({ [root]: since })
  }
})

test('after a restart every id is known, and none is given again', async () => {
  await using world = await startProxied()
  const { mounts } = await world.service.prepare({ snapshotter, key: 'k', parent: '', labels: {} }, one)
  const again = await world.reopen()
  expect((await again.service.mounts({ snapshotter, key: 'k' }, one)).mounts).toEqual(mounts)
  await again.service.prepare({ snapshotter, key: 'l', parent: '', labels: {} }, one)
  const [, second] = await names(world.backend.service, one)
  expect(second).not.toBe('one/1/l')
})
