import { Container, ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { ContentDefinition, WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { Image, ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { Call } from '@flotilla/rpc'
import { digestOf } from '@flotilla/testing'
import { contentWriter } from '@flotilla/testing/content-suite'
import { type Clients, collect } from '../harness/clients.ts'

/** A kind of record, and how clients make one, give it the value 1, find and remove it. A new one has the value 0. */
export interface Kind {
  readonly name: string
  make(clients: Clients, id: string, call: Call): Promise<unknown>
  change(clients: Clients, id: string, call: Call): Promise<unknown>
  remove(clients: Clients, id: string, call: Call): Promise<unknown>
  /** All there are, by id. */
  list(clients: Clients, call: Call): Promise<ReadonlyMap<string, number>>
}

type Labels = Readonly<Record<string, string>>

const labels = (id: string, value: number) => ({ id, value: String(value), 'containerd.io/gc.root': 'for the test' })
const labelled = (found: Labels) => [found.id ?? '', Number(found.value)] as const
const valueOnly = ['labels.value']
const bytesOf = (id: string) => Buffer.from(`blob ${id}`)
const digestFor = (id: string) => digestOf(bytesOf(id))
const snapshotter = 'overlayfs'

const containers: Kind = {
  name: 'containers',
  make: (clients, id, call) =>
    clients.of(ContainersDefinition).create(
      {
        container: Container.fromPartial({
          id,
          labels: labels(id, 0),
          runtime: { name: 'io.containerd.runc.v2' },
          spec: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: Buffer.from('{}') },
        }),
      },
      call,
    ),
  change: (clients, id, call) =>
    clients
      .of(ContainersDefinition)
      .update({ container: Container.fromPartial({ id, labels: labels(id, 1) }), updateMask: valueOnly }, call),
  remove: (clients, id, call) => clients.of(ContainersDefinition).delete({ id }, call),
  async list(clients, call) {
    const { containers: found } = await clients.of(ContainersDefinition).list({ filters: [] }, call)
    return new Map(found.map((one) => labelled(one.labels)))
  },
}

const imageOf = (name: string, value: number) =>
  Image.fromPartial({
    name,
    labels: labels(name, value),
    target: { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: digestFor(name), size: 5 },
  })

const images: Kind = {
  name: 'images',
  make: (clients, id, call) =>
    clients.of(ImagesDefinition).create({ image: imageOf(id, 0), sourceDateEpoch: undefined }, call),
  change: (clients, id, call) =>
    clients
      .of(ImagesDefinition)
      .update({ image: imageOf(id, 1), updateMask: valueOnly, sourceDateEpoch: undefined }, call),
  remove: (clients, name, call) => clients.of(ImagesDefinition).delete({ name, sync: false, target: undefined }, call),
  async list(clients, call) {
    const { images: found } = await clients.of(ImagesDefinition).list({ filters: [] }, call)
    return new Map(found.map((one) => labelled(one.labels)))
  },
}

const leases: Kind = {
  name: 'leases',
  make: (clients, id, call) => clients.of(LeasesDefinition).create({ id, labels: labels(id, 0) }, call),
  change: (clients, id, call) =>
    clients.of(LeasesDefinition).addResource({ id, resource: { id: digestFor(id), type: 'content' } }, call),
  remove: (clients, id, call) => clients.of(LeasesDefinition).delete({ id, sync: false }, call),
  async list(clients, call) {
    const service = clients.of(LeasesDefinition)
    const { leases: found } = await service.list({ filters: [] }, call)
    const values = found.map(
      async ({ id }) => [id, (await service.listResources({ id }, call)).resources.length] as const,
    )
    return new Map(await Promise.all(values))
  },
}

const content: Kind = {
  name: 'content',
  async make(clients, id, call) {
    const writer = contentWriter(clients.of(ContentDefinition), call)
    const data = bytesOf(id)
    const expected = digestFor(id)
    const common = { ref: id, total: data.length, expected, labels: labels(id, 0) }
    await writer.send({ ...common, action: WriteAction.WRITE, offset: 0, data })
    await writer.send({ ...common, action: WriteAction.COMMIT, offset: data.length })
    await writer.end()
  },
  change: (clients, id, call) =>
    clients.of(ContentDefinition).update(
      {
        info: { digest: digestFor(id), size: 0, createdAt: undefined, updatedAt: undefined, labels: labels(id, 1) },
        updateMask: valueOnly,
      },
      call,
    ),
  remove: (clients, id, call) => clients.of(ContentDefinition).delete({ digest: digestFor(id) }, call),
  async list(clients, call) {
    const pages = await collect(clients.of(ContentDefinition).list({ filters: [] }, call))
    return new Map(pages.flatMap(({ info }) => info.map((one) => labelled(one.labels))))
  },
}

const snapshots: Kind = {
  name: 'snapshots',
  make: (clients, id, call) =>
    clients.of(SnapshotsDefinition).prepare({ snapshotter, key: id, parent: '', labels: labels(id, 0) }, call),
  change: (clients, id, call) =>
    clients.of(SnapshotsDefinition).update(
      {
        snapshotter,
        info: {
          name: id,
          parent: '',
          kind: 0,
          createdAt: undefined,
          updatedAt: undefined,
          labels: labels(id, 1),
        },
        updateMask: valueOnly,
      },
      call,
    ),
  remove: (clients, id, call) => clients.of(SnapshotsDefinition).remove({ snapshotter, key: id }, call),
  async list(clients, call) {
    const pages = await collect(clients.of(SnapshotsDefinition).list({ snapshotter, filters: [] }, call))
    return new Map(pages.flatMap(({ info }) => info.map((one) => labelled(one.labels))))
  },
}

export const kinds: readonly Kind[] = [containers, images, leases, content, snapshots]
