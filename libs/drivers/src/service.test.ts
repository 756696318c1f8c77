import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createLogger } from '@flotilla/log'
import { makeCall, notFound, status } from '@flotilla/rpc'
import type { DriverKind, SnapshotDriver } from '@flotilla/snapshot-driver'
import { tempWorld } from '@flotilla/testing'
import { expect, test } from 'vitest'
import { createDrivers } from './service.ts'

const logger = createLogger({ level: 'fatal', name: 'test' })
const call = makeCall()

/** A driver that makes nothing: what is tested here is who is asked and what becomes of the answers. */
function kindOf(name: string, changes: Partial<SnapshotDriver> = {}): DriverKind {
  const driver: SnapshotDriver = {
    capabilities: ['rebase'],
    create: async () => '7',
    mounts: async ({ id }) => [{ type: name, source: id, target: '', options: [] }],
    usage: async () => ({ size: 1, inodes: 2 }),
    commit: async () => ({ size: 3, inodes: 4 }),
    remove: async () => {},
    ids: async (age) => [String(age)],
    async [Symbol.asyncDispose]() {},
    ...changes,
  }
  return { name, open: async () => driver }
}
const broken: DriverKind = { name: 'broken', open: () => Promise.reject(new Error('no such kernel module')) }
const request = { id: '7', readonly: false, parents: [], labels: {}, key: '', name: '', rebased: false, changed: [] }

test('each driver has a directory named as the plugin; one that cannot be opened is listed with the reason', async () => {
  const drivers = await createDrivers({ root: '/r', drivers: [kindOf('one'), broken], logger })
  expect((await drivers.list({}, call)).drivers).toEqual([
    {
      name: 'one',
      root: '/r/io.containerd.snapshotter.v1.one',
      exports: { root: '/r/io.containerd.snapshotter.v1.one' },
      capabilities: ['rebase'],
      unavailable: '',
      takesLabels: false,
    },
    {
      name: 'broken',
      root: '/r/io.containerd.snapshotter.v1.broken',
      exports: { root: '/r/io.containerd.snapshotter.v1.broken' },
      capabilities: [],
      unavailable: 'no such kernel module',
      takesLabels: false,
    },
  ])
})

test('ids go on after those of records where the counter is gone; one that cannot be read keeps its driver away', async () => {
  await using world = await tempWorld({ name: 'drivers' })
  const root = (name: string) => world.join(`io.containerd.snapshotter.v1.${name}`)
  mkdirSync(root('broken'))
  writeFileSync(`${root('broken')}/last-id`, 'many')
  const drivers = await createDrivers({
    root: world.path,
    drivers: [kindOf('emptied'), kindOf('new'), kindOf('broken')],
    logger,
    highestRecordedId: async (name) => (name === 'new' ? 0 : 41),
  })
  expect(readFileSync(`${root('emptied')}/last-id`, 'utf8')).toBe('41\n')
  expect(existsSync(root('new'))).toBe(false)
  expect((await drivers.list({}, call)).drivers.map(({ unavailable }) => unavailable)).toEqual([
    '',
    '',
    `${root('broken')}/last-id does not hold a number`,
  ])
})

test('a call reaches the driver that it names', async () => {
  await using drivers = await createDrivers({ root: '/r', drivers: [kindOf('one'), kindOf('two')], logger })
  const two = { ...request, snapshotter: 'two' }
  expect(await drivers.create(two, call)).toEqual({ id: '7', committed: false, labels: {} })
  expect(await drivers.mounts(two, call)).toEqual({ mounts: [{ type: 'two', source: '7', target: '', options: [] }] })
  expect(await drivers.usage(two, call)).toEqual({ size: 1, inodes: 2 })
  expect(await drivers.commit(two, call)).toEqual({ size: 3, inodes: 4 })
  expect(await drivers.remove({ snapshotter: 'two', ids: ['7'] }, call)).toEqual({})
  expect(await drivers.ids(two, call)).toEqual({ ids: ['60000'] })
})

test.each([
  ['', 'snapshotter argument missing: invalid argument'],
  ['none', 'snapshotter not loaded: none: invalid argument'],
  ['broken', 'snapshotter not loaded: broken: invalid argument'],
])('a call for snapshotter %j is refused', async (snapshotter, message) => {
  const {
    list,
    [Symbol.asyncDispose]: dispose,
    ...others
  } = await createDrivers({ root: '/r', drivers: [broken], logger })
  for (const method of Object.values(others))
    await expect(method({ ...request, snapshotter, ids: [] }, call)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message,
    })
})

test('errors name the snapshotter and the reason, not paths of the machine', async () => {
  const failing = kindOf('one', {
    create: async () => readdirSync('/no/such/path') as unknown as string,
    mounts: async () => {
      throw Object.assign(new Error("ENOSPC: no space left on device, mkdir '/a, b'"), {
        code: 'ENOSPC',
        syscall: 'mkdir',
      })
    },
    usage: async () => {
      throw notFound('snapshot directory 7')
    },
  })
  const drivers = await createDrivers({ root: '/r', drivers: [failing], logger })
  const one = { ...request, snapshotter: 'one' }
  await expect(drivers.create(one, call)).rejects.toMatchObject({
    code: status.UNKNOWN,
    message: 'snapshotter one: make a snapshot: no such file or directory (ENOENT)',
  })
  await expect(drivers.mounts(one, call)).rejects.toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
    message: 'snapshotter one: find mounts: no space left on device (ENOSPC): resource exhausted',
  })
  await expect(drivers.usage(one, call)).rejects.toMatchObject({ code: status.NOT_FOUND })
})

test('a call that is cancelled reaches the driver', async () => {
  await using world = await tempWorld()
  const waiting = kindOf('one', {
    create: (_, signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  })
  await using drivers = await createDrivers({ root: world.path, drivers: [waiting], logger })
  const cancel = new AbortController()
  const answer = drivers.create({ ...request, snapshotter: 'one' }, makeCall({ signal: cancel.signal }))
  cancel.abort(new Error('enough'))
  await expect(answer).rejects.toThrow('enough')
})
