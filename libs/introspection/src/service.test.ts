import { readFile, writeFile } from 'node:fs/promises'
import { IntrospectionDefinition } from '@flotilla/api/containerd/services/introspection/v1/introspection'
import { RuntimeInfo, RuntimeRequest } from '@flotilla/api/containerd/types/types'
import type { Driver } from '@flotilla/api/flotilla/node/v1/node'
import { Any } from '@flotilla/api/google/protobuf/any'
import { clientOf, connect, createRpcServer, makeCall, status, unavailable } from '@flotilla/rpc'
import { type TempWorld, tempWorld } from '@flotilla/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createIntrospectionService, type IntrospectionDeps } from './service.ts'
import { serverUuid } from './uuid.ts'
import { createVersionService } from './version.ts'

let world: TempWorld
const call = makeCall()

beforeEach(async () => {
  world = await tempWorld({ tmpfs: true })
})
afterEach(() => world[Symbol.asyncDispose]())

const drivers: Driver[] = [
  {
    name: 'overlayfs',
    root: '/r/overlayfs',
    capabilities: ['rebase', 'remap-ids'],
    exports: { root: '/r/overlayfs' },
    unavailable: '',
    takesLabels: false,
  },
  {
    name: 'btrfs',
    root: '/r/btrfs',
    capabilities: [],
    exports: { root: '/r/btrfs' },
    unavailable: '/r/btrfs is on ext4',
    takesLabels: false,
  },
]
const info = Any.fromPartial({
  typeUrl: 'containerd.types.RuntimeInfo',
  value: Buffer.from(RuntimeInfo.encode(RuntimeInfo.fromPartial({ name: 'io.containerd.runc.v2' })).finish()),
})

const deps = (changes: Partial<IntrospectionDeps> = {}): IntrospectionDeps => ({
  config: {
    root: world.path,
    sharingPolicy: 'shared',
    optPath: '/opt/here',
    proxyPlugins: [],
    gc: { pauseThreshold: 0.02, deletionThreshold: 0, mutationThreshold: 100, scheduleDelay: 0 },
  },
  drivers: { list: async () => ({ drivers }) },
  tasks: { runtimeInfo: () => Promise.reject(new Error('nobody asked a runtime')) },
  ...changes,
})
const list = async (...filters: string[]) =>
  (await (await createIntrospectionService(deps())).plugins({ filters }, call)).plugins
const ids = async (...filters: string[]) => (await list(...filters)).map(({ id }) => id)

describe('plugins', () => {
  test('a new container’s snapshotter is found as the client library asks for it', async () => {
    expect(await list('type==io.containerd.snapshotter.v1, id==overlayfs')).toEqual([
      expect.objectContaining({
        id: 'overlayfs',
        capabilities: ['rebase', 'remap-ids'],
        exports: { root: '/r/overlayfs' },
        initErr: undefined,
      }),
    ])
  })

  test('a driver that cannot be used here is listed with the words that make clients skip it', async () => {
    const [btrfs] = await list('type==io.containerd.snapshotter.v1,id==btrfs')
    expect(btrfs?.initErr).toMatchObject({ code: status.UNKNOWN, message: '/r/btrfs is on ext4: skip plugin' })
  })

  test('BuildKit finds a runtime with a platform', async () => {
    const found = await list('type==io.containerd.runtime.v1', 'type==io.containerd.runtime.v2')
    expect(found).toHaveLength(1)
    expect(found[0]).toMatchObject({ id: 'task', exports: { 'log-uri-schemes': 'fifo,binary,binary-v2,file' } })
    const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as string]
    expect(found[0]?.platforms).toMatchObject([{ os: 'linux', architecture }])
  })

  test('settings are told', async () => {
    expect((await list('type==io.containerd.metadata.v1'))[0]?.exports).toEqual({ policy: 'shared' })
    expect((await list('type==io.containerd.content.v1'))[0]?.exports).toEqual({
      root: world.join('io.containerd.content.v1.content'),
    })
    expect((await list('type==io.containerd.gc.v1'))[0]?.exports).toEqual({
      PauseThreshold: '0.02',
      DeletionThreshold: '0',
      MutationThreshold: '100',
      ScheduleDelay: '0s',
    })
  })

  test('only services that exist are listed', async () => {
    const services = await ids('type==io.containerd.grpc.v1')
    expect(services).toContain('tasks')
    expect(services).not.toContain('cri')
    expect(await ids('type==io.containerd.service.v1')).toContain('tasks-service')
  })

  test('each comes after the types that it requires', async () => {
    const seen = new Set<string>()
    for (const { type, id, requires } of await list()) {
      for (const required of requires) expect(seen, `${type}.${id}`).toContain(required)
      seen.add(type)
    }
  })

  test('no two have the same name', async () => {
    const names = (await list()).map(({ type, id }) => `${type}.${id}`)
    expect(new Set(names).size).toBe(names.length)
  })

  test('a bad filter is INVALID_ARGUMENT', async () => {
    await expect(list('type==/x')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })

  test('a node that is away is UNAVAILABLE, not a daemon without snapshotters', async () => {
    const service = await createIntrospectionService(
      deps({ drivers: { list: () => Promise.reject(unavailable('n')) } }),
    )
    await expect(service.plugins({ filters: [] }, call)).rejects.toMatchObject({ code: status.UNAVAILABLE })
  })
})

describe('server', () => {
  test('has its own pid and pid namespace, and no deprecations', async () => {
    const answer = await (await createIntrospectionService(deps())).server({}, call)
    expect(answer).toMatchObject({ pid: process.pid, deprecations: [] })
    expect(answer.pidns).toBeGreaterThan(0)
  })

  test('keeps its uuid over restarts', async () => {
    const first = await (await createIntrospectionService(deps())).server({}, call)
    const second = await (await createIntrospectionService(deps())).server({}, call)
    expect(first.uuid).toMatch(/^[0-9a-f-]{36}$/)
    expect(second.uuid).toBe(first.uuid)
  })

  test('twenty that start at once agree on the uuid', async () => {
    const uuids = await Promise.all(Array.from({ length: 20 }, () => serverUuid(world.path)))
    expect(new Set(uuids).size).toBe(1)
  })

  test('replaces a file that a crash left empty', async () => {
    await serverUuid(world.path)
    const path = world.join('io.containerd.grpc.v1.introspection', 'uuid')
    await writeFile(path, '')
    const uuid = await serverUuid(world.path)
    expect(await readFile(path, 'utf8')).toBe(uuid)
  })
})

describe('plugin info', () => {
  const runtime = { type: 'io.containerd.runtime.v2', id: 'task' }
  const runtimeOptions = Any.fromPartial({ typeUrl: 'containerd.runc.v1.Options', value: Buffer.from('x') })
  const request = (typeUrl: string) =>
    Any.fromPartial({
      typeUrl,
      value: Buffer.from(
        RuntimeRequest.encode({ runtimePath: 'io.containerd.runc.v2', options: runtimeOptions }).finish(),
      ),
    })

  test.each(['containerd.types.RuntimeRequest', 'type.googleapis.com/containerd.types.RuntimeRequest'])(
    'of a runtime is what its shim says (%s)',
    async (typeUrl) => {
      const asked: unknown[] = []
      const runtimeInfo: IntrospectionDeps['tasks']['runtimeInfo'] = async (about) => {
        asked.push(about)
        return { info }
      }
      const service = await createIntrospectionService(deps({ tasks: { runtimeInfo } }))
      const answer = await service.pluginInfo({ ...runtime, options: request(typeUrl) }, call)
      expect(answer).toMatchObject({ plugin: runtime, extra: info })
      expect(asked).toEqual([{ runtimePath: 'io.containerd.runc.v2', options: runtimeOptions }])
    },
  )

  test('without options is the record alone', async () => {
    const service = await createIntrospectionService(deps())
    expect(await service.pluginInfo({ ...runtime, options: undefined }, call)).toMatchObject({
      plugin: runtime,
      extra: undefined,
    })
  })

  test.each([
    ['an unknown plugin', { type: 't', id: 'i' }, undefined, status.NOT_FOUND, 'plugin t.i not found: not found'],
    [
      'a plugin that has nothing to tell',
      { type: 'io.containerd.gc.v1', id: 'scheduler' },
      'x',
      status.UNIMPLEMENTED,
      'plugin io.containerd.gc.v1.scheduler has no further information: not implemented',
    ],
    [
      'a plugin that is not loaded',
      { type: 'io.containerd.snapshotter.v1', id: 'btrfs' },
      'x',
      status.FAILED_PRECONDITION,
      'plugin io.containerd.snapshotter.v1.btrfs is not loaded: /r/btrfs is on ext4: skip plugin: failed precondition',
    ],
    [
      'options of another type',
      runtime,
      'x',
      status.INVALID_ARGUMENT,
      'options of a runtime must be a containerd.types.RuntimeRequest, not "x": invalid argument',
    ],
  ])('refuses %s', async (_, plugin, typeUrl, code, message) => {
    const service = await createIntrospectionService(deps())
    const options = typeUrl === undefined ? undefined : request(typeUrl)
    await expect(service.pluginInfo({ ...plugin, options }, call)).rejects.toMatchObject({ code, message })
  })
})

test('answers over gRPC', async () => {
  await using server = createRpcServer()
  server.add(IntrospectionDefinition, await createIntrospectionService(deps()))
  const connection = connect(await server.listen(`unix://${world.join('introspection.sock')}`))
  const client = clientOf(IntrospectionDefinition, connection)
  expect((await client.plugins({ filters: ['id==task'] }, call)).plugins).toHaveLength(1)
  expect((await client.server({}, call)).pidns).toBeGreaterThan(0)
  connection.close()
})

test('the version is a semantic one that says whose it is', async () => {
  const { version, revision } = await createVersionService().version({}, call)
  expect(version).toMatch(/^v2\.\d+\.\d+\+flotilla(\.\d+){3}$/)
  expect(revision).not.toBe('')
  expect(await createVersionService({ version: 'v1', revision: 'r' }).version({}, call)).toEqual({
    version: 'v1',
    revision: 'r',
  })
})
