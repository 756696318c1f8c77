import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import {
  ContentDefinition,
  WriteAction,
  type WriteContentRequest,
} from '@flotilla/api/containerd/services/content/v1/content'
import { DiffDefinition } from '@flotilla/api/containerd/services/diff/v1/diff'
import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { NamespacesDefinition } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { CreateTaskRequest, TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { type Call, makeCall, status } from '@flotilla/rpc'
import { expect } from 'vitest'
import { type Clients, callIn, collect, connectTo, refusalOf } from '../harness/clients.ts'
import { suite } from '../harness/suite.ts'
import { underTest } from '../harness/system.ts'

interface Case {
  readonly what: string
  /** Makes what the request needs to be refused for the reason that is meant. */
  readonly before?: (clients: Clients, call: Call) => Promise<unknown>
  readonly ask: (clients: Clients, call: Call) => Promise<unknown> | AsyncIterable<unknown>
  readonly code: number
  readonly message: RegExp
  /** Where containerd itself is odd, or newer than the version at hand: not asked of it. */
  readonly ours?: boolean
}

const digest = `sha256:${'a'.repeat(64)}`
const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 5, annotations: {} }
const tooLong = { ['k'.repeat(1000)]: 'v'.repeat(3097) }
// Else a collection may take a snapshot between two calls.
const kept = { 'containerd.io/gc.root': 'for the test' }
const badFilter = 'labels.a-b==1'
const runtime = { name: 'io.containerd.runc.v2', options: undefined }
const { INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, ALREADY_EXISTS, OUT_OF_RANGE, UNIMPLEMENTED } = status

async function* messages(...requests: Array<Partial<WriteContentRequest>>): AsyncIterable<WriteContentRequest> {
  for (const request of requests)
    yield {
      action: WriteAction.STAT,
      ref: '',
      total: 0,
      expected: '',
      offset: 0,
      data: Buffer.alloc(0),
      labels: {},
      ...request,
    } as WriteContentRequest
}

const image = (changes: object) => ({ image: { name: 'i', labels: {}, target, ...changes } })
const container = (changes: object) => ({
  container: {
    id: 'c',
    labels: {},
    image: '',
    runtime,
    snapshotter: '',
    snapshotKey: '',
    extensions: {},
    sandbox: '',
    ...changes,
  },
})

/** Requests with parts left out on purpose; what the generated types would insist on is not the point here. */
const loose = (value: object) => value as never

const cases: Case[] = [
  {
    what: 'content info of no digest',
    ask: (c, call) => c.of(ContentDefinition).info(loose({ digest: 'nothing' }), call),
    code: INVALID_ARGUMENT,
    message: /"nothing" failed validation/,
  },
  {
    what: 'content info of an unknown algorithm',
    ask: (c, call) => c.of(ContentDefinition).info(loose({ digest: 'md5:d41d8cd98f00b204e9800998ecf8427e' }), call),
    code: INVALID_ARGUMENT,
    message: /failed validation/,
  },
  {
    what: 'content info of what is not there',
    ask: (c, call) => c.of(ContentDefinition).info(loose({ digest }), call),
    code: NOT_FOUND,
    message: new RegExp(`content digest ${digest}: not found`),
  },
  {
    what: 'content delete of no digest',
    ask: (c, call) => c.of(ContentDefinition).delete(loose({ digest: 'sha256:abc' }), call),
    code: INVALID_ARGUMENT,
    message: /invalid checksum digest length/,
  },
  {
    what: 'content status of an unknown ref',
    ask: (c, call) => c.of(ContentDefinition).status(loose({ ref: 'unknown-ref' }), call),
    code: NOT_FOUND,
    message: /unknown-ref/,
  },
  {
    what: 'content abort of an unknown ref',
    ask: (c, call) => c.of(ContentDefinition).abort(loose({ ref: 'unknown-ref' }), call),
    code: NOT_FOUND,
    message: /unknown-ref/,
  },
  {
    what: 'content write without a ref',
    ask: (c, call) => c.of(ContentDefinition).write(messages({}), call),
    code: INVALID_ARGUMENT,
    message: /first message must have a reference/,
  },
  {
    what: 'content write at a wrong offset',
    ask: (c, call) =>
      c
        .of(ContentDefinition)
        .write(
          messages(
            { ref: 'r', action: WriteAction.WRITE, data: Buffer.from('abc') },
            { ref: 'r', action: WriteAction.WRITE, data: Buffer.from('abc'), offset: 5 },
          ),
          call,
        ),
    code: OUT_OF_RANGE,
    message: /write @5 must occur at current offset 3/,
  },
  {
    what: 'content commit of another size',
    ask: (c, call) =>
      c
        .of(ContentDefinition)
        .write(messages({ ref: 'r', action: WriteAction.COMMIT, data: Buffer.from('abc'), total: 4 }), call),
    code: FAILED_PRECONDITION,
    message: /failed size validation: 3 != 4: failed precondition/,
  },
  {
    what: 'content commit of another digest',
    ask: (c, call) =>
      c
        .of(ContentDefinition)
        .write(messages({ ref: 'r', action: WriteAction.COMMIT, data: Buffer.from('abc'), expected: digest }), call),
    code: FAILED_PRECONDITION,
    message: new RegExp(`unexpected commit digest sha256:ba7816bf\\w+, expected ${digest}: failed precondition`),
  },
  {
    what: 'content commit with a label that is too long',
    ask: (c, call) =>
      c
        .of(ContentDefinition)
        .write(messages({ ref: 'r', action: WriteAction.COMMIT, data: Buffer.from('abc'), labels: tooLong }), call),
    code: INVALID_ARGUMENT,
    message: /label key and value length \(4097 bytes\) greater than maximum size \(4096 bytes\), key: k{64}/,
  },
  {
    what: 'content write that expects no digest',
    ask: (c, call) =>
      c
        .of(ContentDefinition)
        .write(messages({ ref: 'r', action: WriteAction.COMMIT, data: Buffer.from('abc'), expected: 'nothing' }), call),
    code: INVALID_ARGUMENT,
    message: /"nothing" failed validation/,
    ours: true,
  },
  {
    what: 'content list with a filter that does not parse',
    ask: (c, call) => c.of(ContentDefinition).list(loose({ filters: [badFilter] }), call),
    code: INVALID_ARGUMENT,
    message: /filters: parse error/,
  },
  {
    what: 'image create without a name',
    ask: (c, call) => c.of(ImagesDefinition).create(loose(image({ name: '' })), call),
    code: INVALID_ARGUMENT,
    message: /Image\.Name required/,
  },
  {
    what: 'image create of no digest',
    ask: (c, call) => c.of(ImagesDefinition).create(loose(image({ target: { ...target, digest: 'x' } })), call),
    code: INVALID_ARGUMENT,
    message: /[Tt]arget\.Digest "x" invalid: invalid checksum digest format/,
  },
  {
    what: 'image create of no size',
    ask: (c, call) => c.of(ImagesDefinition).create(loose(image({ target: { ...target, size: 0 } })), call),
    code: INVALID_ARGUMENT,
    message: /[Tt]arget\.Size must be greater than zero/,
  },
  {
    what: 'image create without a media type',
    ask: (c, call) => c.of(ImagesDefinition).create(loose(image({ target: { ...target, mediaType: '' } })), call),
    code: INVALID_ARGUMENT,
    message: /[Tt]arget\.MediaType must be set/,
  },
  {
    what: 'image create with a label that is too long',
    ask: (c, call) => c.of(ImagesDefinition).create(loose(image({ labels: tooLong })), call),
    code: INVALID_ARGUMENT,
    message: /image\.Labels: label key and value length \(4097 bytes\)/,
  },
  {
    what: 'image create without anything',
    ask: (c, call) => c.of(ImagesDefinition).create(loose({}), call),
    code: INVALID_ARGUMENT,
    message: /./,
    ours: true,
  },
  {
    what: 'image update without anything',
    ask: (c, call) => c.of(ImagesDefinition).update(loose({}), call),
    code: INVALID_ARGUMENT,
    message: /./,
    ours: true,
  },
  {
    what: 'image get of what is not there',
    ask: (c, call) => c.of(ImagesDefinition).get({ name: 'none' }, call),
    code: NOT_FOUND,
    message: /^image "none": not found$/,
  },
  {
    what: 'image delete of what is not there',
    ask: (c, call) => c.of(ImagesDefinition).delete(loose({ name: 'none' }), call),
    code: NOT_FOUND,
    message: /^image "none": not found$/,
  },
  {
    what: 'image update of a path that cannot change',
    before: (c, call) => c.of(ImagesDefinition).create(loose(image({ name: 'masked' })), call),
    ask: (c, call) =>
      c.of(ImagesDefinition).update(loose({ ...image({ name: 'masked' }), updateMask: ['created_at'] }), call),
    code: INVALID_ARGUMENT,
    message: /cannot update "created_at" field on image "masked": invalid argument/,
  },
  {
    what: 'image create of one that exists',
    before: (c, call) => c.of(ImagesDefinition).create(loose(image({ name: 'twice' })), call),
    ask: (c, call) => c.of(ImagesDefinition).create(loose(image({ name: 'twice' })), call),
    code: ALREADY_EXISTS,
    message: /^image "twice": already exists$/,
  },
  {
    what: 'image list with a filter that does not parse',
    ask: (c, call) => c.of(ImagesDefinition).list({ filters: [badFilter] }, call),
    code: INVALID_ARGUMENT,
    message: /filters: parse error/,
  },
  {
    what: 'container create with a bad id',
    ask: (c, call) => c.of(ContainersDefinition).create(loose(container({ id: '../../etc' })), call),
    code: INVALID_ARGUMENT,
    message: /create container failed validation: container\.ID: identifier "\.\.\/\.\.\/etc" must match/,
  },
  {
    what: 'container create with an id that is too long',
    ask: (c, call) => c.of(ContainersDefinition).create(loose(container({ id: 'c'.repeat(77) })), call),
    code: INVALID_ARGUMENT,
    message: /identifier "c{77}" greater than maximum length \(76 characters\)/,
  },
  {
    what: 'container create without a runtime',
    ask: (c, call) => c.of(ContainersDefinition).create(loose(container({ runtime: { name: '' } })), call),
    code: INVALID_ARGUMENT,
    message: /container\.Runtime\.Name must be set/,
  },
  {
    what: 'container create with a snapshot but no snapshotter',
    ask: (c, call) => c.of(ContainersDefinition).create(loose(container({ snapshotKey: 'k' })), call),
    code: INVALID_ARGUMENT,
    message: /container\.Snapshotter must be set if container\.SnapshotKey is set/,
  },
  {
    what: 'container create with an empty extension key',
    ask: (c, call) =>
      c
        .of(ContainersDefinition)
        .create(loose(container({ extensions: { '': { typeUrl: 't', value: Buffer.from('v') } } })), call),
    code: INVALID_ARGUMENT,
    message: /container\.Extension keys must not be zero-length/,
  },
  {
    what: 'container get of what is not there',
    ask: (c, call) => c.of(ContainersDefinition).get({ id: 'none' }, call),
    code: NOT_FOUND,
    message: /^container "none" in namespace "e2e-\w+": not found$/,
  },
  {
    what: 'container delete of what is not there',
    ask: (c, call) => c.of(ContainersDefinition).delete({ id: 'none' }, call),
    code: NOT_FOUND,
    message: /none.*: not found$/,
  },
  {
    what: 'container update without an id',
    ask: (c, call) => c.of(ContainersDefinition).update(loose(container({ id: '' })), call),
    code: INVALID_ARGUMENT,
    message: /Container\.ID required/,
  },
  {
    what: 'namespace create of no identifier',
    ask: (c, call) => c.of(NamespacesDefinition).create(loose({ namespace: { name: 'a//b', labels: {} } }), call),
    code: INVALID_ARGUMENT,
    message: /identifier "a\/\/b" must match/,
  },
  {
    what: 'namespace delete of what is not there',
    ask: (c, call) => c.of(NamespacesDefinition).delete({ name: 'never-there' }, call),
    code: NOT_FOUND,
    message: /namespace "never-there": not found/,
  },
  {
    what: 'lease delete of what is not there',
    ask: (c, call) => c.of(LeasesDefinition).delete({ id: 'none', sync: false }, call),
    code: NOT_FOUND,
    message: /lease "none": not found/,
  },
  {
    what: 'lease resource of an unknown type',
    before: (c, call) => c.of(LeasesDefinition).create({ id: 'l', labels: {} }, call),
    ask: (c, call) => c.of(LeasesDefinition).addResource({ id: 'l', resource: { id: 'x', type: 'boats' } }, call),
    code: UNIMPLEMENTED,
    message: /resource type boats not supported yet: not implemented/,
  },
  {
    what: 'lease resource that is no digest',
    before: (c, call) => c.of(LeasesDefinition).create({ id: 'l', labels: {} }, call),
    ask: (c, call) => c.of(LeasesDefinition).addResource({ id: 'l', resource: { id: 'x', type: 'content' } }, call),
    code: INVALID_ARGUMENT,
    message: /invalid content resource id x/,
  },
  {
    what: 'a write under a lease that is not there',
    ask: (c, call) =>
      c
        .of(SnapshotsDefinition)
        .prepare(
          { snapshotter: 'overlayfs', key: 'k', parent: '', labels: {} },
          callIn(call.namespace ?? '', { lease: 'no-lease' }),
        ),
    code: NOT_FOUND,
    message: /lease does not exist: not found/,
  },
  {
    what: 'snapshots without a snapshotter',
    ask: (c, call) => c.of(SnapshotsDefinition).stat({ snapshotter: '', key: 'k' }, call),
    code: INVALID_ARGUMENT,
    message: /snapshotter argument missing: invalid argument/,
  },
  {
    what: 'snapshots of an unknown snapshotter',
    ask: (c, call) => c.of(SnapshotsDefinition).stat({ snapshotter: '../x', key: 'k' }, call),
    code: INVALID_ARGUMENT,
    message: /snapshotter not loaded: \.\.\/x: invalid argument/,
  },
  {
    what: 'snapshot prepare on an unknown parent',
    ask: (c, call) =>
      c.of(SnapshotsDefinition).prepare({ snapshotter: 'overlayfs', key: 'k', parent: 'p', labels: {} }, call),
    code: NOT_FOUND,
    message: /parent snapshot p does not exist: not found/,
  },
  {
    what: 'snapshot prepare on one that is not committed',
    before: (c, call) =>
      c.of(SnapshotsDefinition).prepare({ snapshotter: 'overlayfs', key: 'p', parent: '', labels: kept }, call),
    ask: (c, call) =>
      c.of(SnapshotsDefinition).prepare({ snapshotter: 'overlayfs', key: 'k', parent: 'p', labels: {} }, call),
    code: INVALID_ARGUMENT,
    message: /is not committed snapshot: invalid argument/,
  },
  {
    what: 'snapshot commit of a view',
    before: (c, call) =>
      c.of(SnapshotsDefinition).view({ snapshotter: 'overlayfs', key: 'v', parent: '', labels: kept }, call),
    ask: (c, call) =>
      c
        .of(SnapshotsDefinition)
        .commit(loose({ snapshotter: 'overlayfs', key: 'v', name: 'n', labels: {}, parent: '' }), call),
    code: FAILED_PRECONDITION,
    message: /is not active: failed precondition/,
  },
  {
    what: 'snapshot with a label that is too long',
    ask: (c, call) =>
      c.of(SnapshotsDefinition).prepare({ snapshotter: 'overlayfs', key: 'k', parent: '', labels: tooLong }, call),
    code: INVALID_ARGUMENT,
    message: /label key and value length \(4097 bytes\)/,
  },
  {
    what: 'diff apply of a blob that is not there',
    ask: (c, call) =>
      c.of(DiffDefinition).apply(
        loose({
          diff: { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 5, annotations: {} },
          mounts: [{ type: 'bind', source: '/nonexistent', target: '', options: ['rbind'] }],
          payloads: {},
        }),
        call,
      ),
    code: NOT_FOUND,
    message: new RegExp(`content digest ${digest}: not found`),
  },
  {
    what: 'diff in a media type that nobody writes',
    ask: (c, call) =>
      c.of(DiffDefinition).diff(loose({ left: [], right: [], mediaType: 'text/plain', ref: '', labels: {} }), call),
    code: UNIMPLEMENTED,
    message: /unsupported diff media type: text\/plain: not implemented/,
  },
  {
    what: 'task get of what is not there',
    ask: (c, call) => c.of(TasksDefinition).get({ containerId: 'none', execId: '' }, call),
    code: NOT_FOUND,
    message: /none/,
  },
  {
    what: 'task create for no container',
    ask: (c, call) => c.of(TasksDefinition).create(CreateTaskRequest.fromPartial({ containerId: 'none' }), call),
    code: NOT_FOUND,
    message: /container "none" in namespace "e2e-\w+": not found/,
  },
  {
    what: 'task kill of what is not there',
    ask: (c, call) => c.of(TasksDefinition).kill({ containerId: 'none', execId: '', signal: 9, all: false }, call),
    code: NOT_FOUND,
    message: /none/,
  },
  {
    what: 'event publish on a topic without a slash',
    ask: (c, call) =>
      c.of(EventsDefinition).publish({ topic: 'x', event: { typeUrl: 't', value: Buffer.from('') } }, call),
    code: INVALID_ARGUMENT,
    message: /envelope topic "x": must start with '\/'/,
  },
  {
    what: 'event publish on a topic with an odd part',
    ask: (c, call) =>
      c.of(EventsDefinition).publish({ topic: '/x/../y', event: { typeUrl: 't', value: Buffer.from('') } }, call),
    code: INVALID_ARGUMENT,
    message: /envelope topic "\/x\/\.\.\/y": failed validation on component/,
  },
  {
    what: 'event subscription with a filter that does not parse',
    ask: (c, call) => c.of(EventsDefinition).subscribe({ filters: ['topic==/tasks/exit'] }, call),
    code: INVALID_ARGUMENT,
    message: /failed parsing subscription filters/,
    ours: true,
  },
]

const namespaced: ReadonlyArray<
  readonly [string, (clients: Clients, call: Call) => Promise<unknown> | AsyncIterable<unknown>]
> = [
  ['containers', (c, call) => c.of(ContainersDefinition).list({ filters: [] }, call)],
  ['content', (c, call) => c.of(ContentDefinition).list({ filters: [] }, call)],
  ['images', (c, call) => c.of(ImagesDefinition).list({ filters: [] }, call)],
  ['leases', (c, call) => c.of(LeasesDefinition).list({ filters: [] }, call)],
  ['snapshots', (c, call) => c.of(SnapshotsDefinition).stat({ snapshotter: 'overlayfs', key: 'k' }, call)],
  ['tasks', (c, call) => c.of(TasksDefinition).list({ filter: '' }, call)],
  [
    'event publishing',
    (c, call) => c.of(EventsDefinition).publish({ topic: '/a', event: { typeUrl: 't', value: Buffer.from('') } }, call),
  ],
]

suite(
  'bad input',
  ({ test, system }) => {
    for (const { what, before, ask, code, message, ours } of cases)
      if (!(ours && underTest === 'containerd'))
        test(what, async ({ namespace }) => {
          using clients = connectTo(system().address)
          const call = callIn(namespace)
          await before?.(clients, call)
          const there = await recordsOf(clients, call)
          const refusal = await refusalOf(ask(clients, call))
          expect(refusal).toEqual({ code, message: expect.stringMatching(message) })
          expect(await recordsOf(clients, call)).toEqual(there)
        })

    for (const [name, ask] of namespaced)
      test(`${name} without a namespace, and with one that is no identifier`, async () => {
        using clients = connectTo(system().address)
        const without = await refusalOf(ask(clients, makeCall({ timeout: 30_000 })))
        expect(without).toEqual({ code: FAILED_PRECONDITION, message: expect.stringMatching(/namespace is required/) })
        const bad = await refusalOf(ask(clients, callIn('a/../b')))
        expect(bad).toEqual({
          code: INVALID_ARGUMENT,
          message: expect.stringMatching(/namespace validation: identifier "a\/\.\.\/b" must match/),
        })
        const long = await refusalOf(ask(clients, callIn('n'.repeat(77))))
        expect(long).toEqual({
          code: INVALID_ARGUMENT,
          message: expect.stringMatching(/greater than maximum length \(76 characters\)/),
        })
      })
  },
  { versions: [underTest === 'containerd' ? '2.1' : '1.6'] },
)

/** All that is recorded in the call's namespace: what was refused must not have changed it. */
async function recordsOf(clients: Clients, call: Call): Promise<unknown> {
  return {
    images: await clients.of(ImagesDefinition).list({ filters: [] }, call),
    containers: await clients.of(ContainersDefinition).list({ filters: [] }, call),
    leases: await clients.of(LeasesDefinition).list({ filters: [] }, call),
    content: await collect(clients.of(ContentDefinition).list({ filters: [] }, call)),
    snapshots: await collect(clients.of(SnapshotsDefinition).list({ snapshotter: 'overlayfs', filters: [] }, call)),
    tasks: await clients.of(TasksDefinition).list({ filter: '' }, call),
  }
}
