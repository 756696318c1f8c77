import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { JsonValue } from '@bufbuild/protobuf'
import { HealthDefinition } from '@flotilla/api/grpc/health/v1/health'
import { callRaw, clientOf, connect, makeCall } from '@flotilla/rpc'
import { until } from '@flotilla/testing'
import { expect } from 'vitest'
import { callIn } from '../harness/clients.ts'
import type { Fixture } from '../harness/fixture.ts'
import { suite } from '../harness/suite.ts'
import { underTest } from '../harness/system.ts'
import { genericClient } from './generic-client.ts'

interface Service {
  readonly name: string
  readonly serves: readonly string[]
  /** A call that works, and what of its answers must be there. */
  readonly method: string
  readonly request: (fixture: Fixture) => JsonValue | readonly JsonValue[]
  readonly answers: JsonValue[]
}

const v1 = (name: string) => `containerd.services.${name.toLowerCase()}.v1.${name}`
const digest = 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'

/** The same file in two directories, and one more in the second. */
function trees({ world }: Fixture): JsonValue {
  const mounts = ['left', 'right'].map((name) => {
    mkdirSync(world.join(name))
    writeFileSync(world.join(name, 'same'), 'same')
    return [{ type: 'bind', source: world.join(name), options: ['rbind', 'rw'] }]
  })
  writeFileSync(world.join('right/more'), 'more')
  return { left: mounts[0] ?? [], right: mounts[1] ?? [], mediaType: 'application/vnd.oci.image.layer.v1.tar' }
}

const services: readonly Service[] = [
  {
    name: 'events',
    serves: [v1('Events'), 'flotilla.events.v1.Log'],
    method: `${v1('Events')}/Publish`,
    request: () => ({
      topic: '/wire/test',
      event: { '@type': 'type.googleapis.com/google.protobuf.Empty' },
    }),
    answers: [{}],
  },
  {
    name: 'namespaces',
    serves: [v1('Namespaces')],
    method: `${v1('Namespaces')}/Get`,
    request: ({ namespace }) => ({ name: namespace }),
    answers: [{ namespace: { name: expect.stringMatching(/^e2e-/) } }],
  },
  {
    name: 'leases',
    serves: [v1('Leases'), 'flotilla.gc.v1.Collector'],
    method: `${v1('Leases')}/Create`,
    request: () => ({ id: 'wire', labels: { a: 'b' } }),
    answers: [{ lease: { id: 'wire', labels: { a: 'b' }, createdAt: expect.any(String) } }],
  },
  {
    name: 'images',
    serves: [v1('Images')],
    method: `${v1('Images')}/Create`,
    request: () => ({ image: { name: 'wire', target: { mediaType: 'text/plain', digest, size: '5' } } }),
    answers: [
      { image: expect.objectContaining({ name: 'wire', target: { mediaType: 'text/plain', digest, size: '5' } }) },
    ],
  },
  {
    name: 'containers',
    serves: [v1('Containers')],
    method: `${v1('Containers')}/Create`,
    request: () => ({ container: { id: 'wire', runtime: { name: 'io.containerd.runc.v2' } } }),
    answers: [{ container: expect.objectContaining({ id: 'wire' }) }],
  },
  {
    name: 'content',
    serves: [v1('Content'), 'flotilla.content.v1.LocalBlobs', 'flotilla.peer.v1.Blobs'],
    method: `${v1('Content')}/Write`,
    request: () => [
      { action: 'STAT', ref: 'wire' },
      { action: 'WRITE', data: Buffer.from('hel').toString('base64') },
      { action: 'COMMIT', offset: '3', data: Buffer.from('lo').toString('base64'), expected: digest },
    ],
    answers: [
      expect.objectContaining({ startedAt: expect.any(String) }),
      expect.objectContaining({ action: 'WRITE', offset: '3' }),
      expect.objectContaining({ action: 'COMMIT', offset: '5', digest }),
    ],
  },
  {
    name: 'snapshots',
    serves: [v1('Snapshots')],
    method: `${v1('Snapshots')}/Prepare`,
    request: () => ({ snapshotter: 'overlayfs', key: 'wire', labels: { 'containerd.io/gc.root': 'wire' } }),
    answers: [{ mounts: [expect.objectContaining({ type: 'bind', options: ['rw', 'rbind'] })] }],
  },
  {
    name: 'diff',
    serves: [v1('Diff'), 'flotilla.diff.v1.Layers'],
    method: `${v1('Diff')}/Diff`,
    request: trees,
    answers: [{ diff: expect.objectContaining({ mediaType: 'application/vnd.oci.image.layer.v1.tar' }) }],
  },
  {
    name: 'tasks',
    serves: [v1('Tasks')],
    method: `${v1('Tasks')}/List`,
    request: () => ({}),
    answers: [{}],
  },
  {
    name: 'introspection',
    serves: [v1('Introspection'), v1('Version')],
    method: `${v1('Introspection')}/Plugins`,
    request: () => ({ filters: ['type==io.containerd.snapshotter.v1,id==native'] }),
    answers: [{ plugins: [expect.objectContaining({ id: 'native' })] }],
  },
  {
    name: 'node-agent',
    serves: [
      'flotilla.node.v1.Drivers',
      'flotilla.node.v1.NodeTasks',
      'flotilla.node.v1.NodeSandboxes',
      'flotilla.peer.v1.Streams',
      v1('Mounts'),
    ],
    method: 'flotilla.node.v1.Drivers/List',
    request: () => ({}),
    answers: [{ drivers: expect.arrayContaining([expect.objectContaining({ name: 'native' })]) }],
  },
  {
    name: 'nodes',
    serves: ['flotilla.cluster.v1.Nodes'],
    method: 'flotilla.cluster.v1.Nodes/List',
    request: () => ({}),
    answers: [{ nodes: [expect.objectContaining({ status: 'NODE_STATUS_READY', snapshotters: expect.anything() })] }],
  },
  {
    name: 'sandboxes',
    serves: ['containerd.services.sandbox.v1.Store', 'containerd.services.sandbox.v1.Controller'],
    method: 'containerd.services.sandbox.v1.Store/List',
    request: () => ({}),
    answers: [{}],
  },
]

/** Tested with their clients: a call alone says little. */
const others = [
  v1('Transfer'),
  v1('Streaming'),
  'flotilla.stdio.v1.Stdio',
  'flotilla.stdio.v1.Logs',
  'flotilla.stdio.v1.NodeLogs',
  'flotilla.cluster.v1.NodePrepull',
  'flotilla.cluster.v1.Prepull',
]

const always = [
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
]
const isForClients = (name: string) =>
  !/^flotilla\.((node|gc|content|diff|peer)\.|stdio\.v1\.NodeLogs|cluster\.v1\.NodePrepull)/.test(name)
const kinds = { unary: v1('Images'), stream: v1('Content') }

suite(
  'on the wire',
  ({ test, system }) => {
    const isSeparate = underTest === 'services'
    const addressOf = (name: string) => `unix://${join(system().state, 'services', `${name}.sock`)}`

    if (isSeparate)
      for (const { name, serves, method, request, answers } of services)
        test(`${name} alone says what it serves, is healthy and answers ${method}`, async (fixture) => {
          const address = addressOf(name)
          const channel = connect(address)
          const health = await clientOf(HealthDefinition, channel).check({ service: '' }, makeCall({ timeout: 30_000 }))
          channel.close()
          expect(health.status).toBe(1)
          using client = genericClient(address)
          expect(await client.services()).toEqual([...serves, ...always].sort())
          for (const service of serves) expect(await client.methods(service)).not.toEqual([])
          expect(await client.call(method, request(fixture), callIn(fixture.namespace))).toEqual(answers)
        })

    test('the gateway serves all that is for clients, and passes each call on', async (fixture) => {
      using client = genericClient(`unix://${system().address}`)
      const expected = [...services.flatMap(({ serves }) => serves), ...others, ...always].sort()
      const listed = await client.services()
      expect(listed).toEqual(underTest === 'services' ? expected.filter(isForClients) : expected)
      for (const { method, request, answers } of services.filter(({ method }) => isForClients(method)))
        expect(await client.call(method, request(fixture), callIn(fixture.namespace))).toEqual(answers)
    })

    test('unary calls and streams of any kind pass, errors with them', async ({ namespace }) => {
      const addresses = isSeparate
        ? [addressOf('images'), `unix://${system().address}`]
        : [`unix://${system().address}`]
      for (const address of addresses) {
        using client = genericClient(address)
        await expect(client.call(`${kinds.unary}/Get`, { name: 'no' }, callIn(namespace))).rejects.toMatchObject({
          code: 5,
          message: 'image "no": not found',
        })
      }
      using client = genericClient(isSeparate ? addressOf('content') : `unix://${system().address}`)
      const call = callIn(namespace)
      await client.call(
        `${kinds.stream}/Write`,
        [{ action: 'COMMIT', ref: 'r', data: Buffer.from('hello').toString('base64') }],
        call,
      )
      expect(await client.call(`${kinds.stream}/List`, {}, call)).toEqual([
        { info: [expect.objectContaining({ digest, size: '5' })] },
      ])
      expect(await client.call(`${kinds.stream}/Read`, { digest, offset: '1', size: '3' }, call)).toEqual([
        { data: Buffer.from('ell').toString('base64') },
      ])
      await expect(client.call(`${kinds.stream}/Read`, { digest, offset: '6' }, call)).rejects.toMatchObject({
        code: 11,
      })
    })

    test('what nobody serves is unimplemented', async ({ namespace }) => {
      const channel = connect(`unix://${system().address}`)
      async function* nothing() {
        yield Buffer.alloc(0)
      }
      try {
        for (const path of [
          '/containerd.services.cri.v1.Nothing/Activate',
          '/no.such.Service/Get',
          `/${kinds.unary}/Nod`,
        ])
          await expect(Array.fromAsync(callRaw(channel, path, nothing(), callIn(namespace)))).rejects.toMatchObject({
            code: 12,
          })
      } finally {
        channel.close()
      }
    })

    test('a client that goes away ends its stream everywhere', async ({ namespace }) => {
      const going = new AbortController()
      using client = genericClient(`unix://${system().address}`)
      const call = { ...callIn(namespace), signal: going.signal }
      const subscribed = client.call(`${v1('Events')}/Subscribe`, {}, call)
      setTimeout(() => going.abort(), 500)
      await expect(subscribed).rejects.toMatchObject({ code: 1 })
      await until('the log to tell of it', async () => {
        return system().logs.some((log) =>
          /"method":"Subscribe"[^\n]*"code":"CANCELLED"/.test(readFileSync(log, 'utf8')),
        )
      })
    })
  },
  { versions: ['1.6'] },
)
