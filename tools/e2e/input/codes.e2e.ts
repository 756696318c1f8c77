import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { DiffDefinition } from '@flotilla/api/containerd/services/diff/v1/diff'
import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { NamespacesDefinition } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { type Call, makeCall } from '@flotilla/rpc'
import { expect } from 'vitest'
import { type Clients, callIn, collect, connectTo, refusalOf } from '../harness/clients.ts'
import { suite } from '../harness/suite.ts'
import { underTest } from '../harness/system.ts'
import { all, ask, blob, type Case, code, container, digest, image, kept, longest } from './codes/case.ts'
import { containersCases } from './codes/containers.ts'
import { contentCases } from './codes/content.ts'
import { diffCases } from './codes/diff.ts'
import { eventsCases } from './codes/events.ts'
import { filtersCases } from './codes/filters.ts'
import { imagesCases } from './codes/images.ts'
import { introspectionCases } from './codes/introspection.ts'
import { leasesCases } from './codes/leases.ts'
import { namespacesCases } from './codes/namespaces.ts'
import { snapshotsCases } from './codes/snapshots.ts'
import { tasksCases } from './codes/tasks.ts'

const cases: readonly Case[] = [
  ...contentCases,
  ...imagesCases,
  ...containersCases,
  ...namespacesCases,
  ...leasesCases,
  ...snapshotsCases,
  ...diffCases,
  ...tasksCases,
  ...eventsCases,
  ...introspectionCases,
  ...filtersCases,
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
  ['diff', ask(DiffDefinition, 'diff', { left: [], right: [], mediaType: '', ref: '', labels: {} })],
  [
    'event publishing',
    (c, call) => c.of(EventsDefinition).publish({ topic: '/a', event: { typeUrl: 't', value: Buffer.from('') } }, call),
  ],
]

suite(
  'bad input',
  ({ test, system }) => {
    for (const { what, before, ask, code, message, ours } of cases)
      if (ours === undefined || underTest !== 'containerd')
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
        expect(without).toEqual({
          code: code.FAILED_PRECONDITION,
          message: expect.stringMatching(/namespace is required/),
        })
        const bad = await refusalOf(ask(clients, callIn('a/../b')))
        expect(bad).toEqual({
          code: code.INVALID_ARGUMENT,
          message: expect.stringMatching(/namespace validation: identifier "a\/\.\.\/b" must match/),
        })
        const long = await refusalOf(ask(clients, callIn('n'.repeat(77))))
        expect(long).toEqual({
          code: code.INVALID_ARGUMENT,
          message: expect.stringMatching(/greater than maximum length \(76 characters\)/),
        })
      })
    test('labels as long as they may be are taken, by everything that has labels', async ({ namespace }) => {
      using clients = connectTo(system().address)
      const call = callIn(namespace)
      await clients.of(NamespacesDefinition).create({ namespace: { name: namespace, labels: longest } }, call)
      await all(
        ask(ImagesDefinition, 'create', image({ labels: longest })),
        ask(ContainersDefinition, 'create', container({ labels: longest })),
        blob.put,
        ask(ContentDefinition, 'update', { info: { digest: blob.digest, labels: { ...kept, ...longest } } }),
        ask(SnapshotsDefinition, 'prepare', {
          snapshotter: 'overlayfs',
          key: 'k',
          parent: '',
          labels: { ...kept, ...longest },
        }),
      )(clients, call)
      const { images } = await clients.of(ImagesDefinition).list({ filters: [] }, call)
      expect(images.map(({ labels }) => labels)).toEqual([longest])
      // A lease may have what it likes.
      const labels = { k: 'v'.repeat(10_000) }
      const { lease } = await clients.of(LeasesDefinition).create({ id: 'l', labels }, call)
      expect(lease?.labels).toEqual(labels)
    })

    test('names that are no identifiers are taken where they may be any text', async ({ namespace }) => {
      using clients = connectTo(system().address)
      const call = callIn(namespace)
      const name = '-../ ,"{}*?\\ \u00e7\n%s'
      await all(
        ask(ImagesDefinition, 'create', image({ name })),
        ask(ImagesDefinition, 'get', { name }),
        ask(LeasesDefinition, 'create', { id: name, labels: {} }),
        ask(LeasesDefinition, 'addResource', { id: name, resource: { id: digest, type: 'content' } }),
        ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: name, parent: '', labels: kept }),
        ask(SnapshotsDefinition, 'stat', { snapshotter: 'overlayfs', key: name }),
        ask(SnapshotsDefinition, 'remove', { snapshotter: 'overlayfs', key: name }),
        ask(ImagesDefinition, 'delete', { name, sync: true }),
        ask(LeasesDefinition, 'delete', { id: name, sync: true }),
      )(clients, call)
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
