import { randomUUID } from 'node:crypto'
import { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import { Info } from '@flotilla/api/containerd/services/content/v1/content'
import { Image } from '@flotilla/api/containerd/services/images/v1/images'
import { Lease } from '@flotilla/api/containerd/services/leases/v1/leases'
import { Sandbox } from '@flotilla/api/containerd/types/types'
import { Ingest, Snapshot, Snapshot_Kind } from '@flotilla/api/flotilla/metadata/v1/records'
import {
  type Check,
  childrenTable,
  encode,
  fromMillis,
  leaseTable,
  type Metadata,
  type Plan,
  snapshotTable,
  tables,
  trashTable,
  type Write,
} from '@flotilla/metadata'

type Labels = Record<string, string>

/** Digest number N. */
export const digestNumber = (number: number): string => `sha256:${number.toString(16).padStart(64, '0')}`

/** What the services do to the metadata of one namespace, as far as the collector is concerned. For tests. */
export class World {
  readonly metadata: Metadata
  readonly namespace: string

  constructor(metadata: Metadata, namespace: string) {
    this.metadata = metadata
    this.namespace = namespace
  }

  async #transact(plan: Plan): Promise<boolean> {
    return (await this.metadata.transact(this.namespace, plan)).ok
  }

  #set(table: string, field: string, value: Buffer, more: Plan = {}): Promise<boolean> {
    return this.#transact({
      ...more,
      writes: [{ op: 'set', table, field, value }, ...(more.writes ?? [])],
      touches: more.touches ?? [{ type: table, id: field }],
    })
  }

  #delete(table: string, field: string, writes: Write[] = []): Promise<boolean> {
    return this.#transact({
      checks: [{ is: 'present', table, field }],
      writes: [{ op: 'delete', table, field }, ...writes],
      deletions: 1,
    })
  }

  has(table: string, field: string): Promise<boolean> {
    return this.metadata.get(this.namespace, table, field).then((bytes) => bytes !== undefined)
  }

  /** False when it is there already. */
  content(digest: string, labels: Labels = {}, lease?: string): Promise<boolean> {
    return this.#set(tables.content, digest, encode(Info, Info.fromPartial({ digest, size: 1, labels })), {
      checks: [{ is: 'absent', table: tables.content, field: digest }],
      ...(lease === undefined ? {} : { lease: { id: lease, add: [{ type: 'content', id: digest }] } }),
    })
  }

  /** Replaces the labels; false when there is no such content. */
  async relabel(digest: string, labels: Labels): Promise<boolean> {
    const value = encode(Info, Info.fromPartial({ digest, size: 1, labels }))
    return this.#set(tables.content, digest, value, {
      checks: [{ is: 'present', table: tables.content, field: digest }],
    })
  }

  deleteContent(digest: string): Promise<boolean> {
    return this.#delete(tables.content, digest)
  }

  image(name: string, target: string, labels: Labels = {}): Promise<boolean> {
    const image = Image.fromPartial({ name, labels, target: { digest: target, mediaType: 'm', size: 1 } })
    return this.#set(tables.images, name, encode(Image, image))
  }

  deleteImage(name: string): Promise<boolean> {
    return this.#delete(tables.images, name)
  }

  container(id: string, snapshotter: string, snapshotKey: string, labels: Labels = {}): Promise<boolean> {
    const spec = { typeUrl: 'spec', value: Buffer.from('{"ociVersion":"1.1.0"}'.repeat(10)) }
    const container = Container.fromPartial({ id, snapshotter, snapshotKey, labels, spec })
    return this.#set(tables.containers, id, encode(Container, container))
  }

  deleteContainer(id: string): Promise<boolean> {
    return this.#delete(tables.containers, id)
  }

  sandbox(id: string, labels: Labels): Promise<boolean> {
    return this.#set(tables.sandboxes, id, encode(Sandbox, Sandbox.fromPartial({ sandboxId: id, labels })))
  }

  lease(id: string, labels: Labels = {}): Promise<boolean> {
    return this.#set(tables.leases, id, encode(Lease, Lease.fromPartial({ id, labels })), {
      checks: [{ is: 'absent', table: tables.leases, field: id }],
    })
  }

  async join(id: string, type: string, resource: string): Promise<boolean> {
    return this.#transact({
      checks: [{ is: 'present', table: tables.leases, field: id }],
      lease: { id, add: [{ type, id: resource }] },
    })
  }

  deleteLease(id: string): Promise<boolean> {
    return this.#delete(tables.leases, id, [{ op: 'drop', table: leaseTable(id) }])
  }

  /** @param expireAt milliseconds since the epoch; undefined for an ingest opened under a lease */
  ingest(ref: string, expireAt: number | undefined, adopts = ''): Promise<boolean> {
    const time = expireAt === undefined ? {} : { expireAt: fromMillis(expireAt) }
    return this.#set(tables.ingests, ref, encode(Ingest, Ingest.fromPartial({ ref, node: 'n1', adopts, ...time })))
  }

  /** `store` is NODE/SNAPSHOTTER. False when the key is taken or the parent is not there. */
  prepare(store: string, key: string, parent: string, labels: Labels = {}, lease?: string): Promise<boolean> {
    const [node = '', snapshotter = ''] = store.split('/')
    const table = snapshotTable(node, snapshotter)
    const record = { key, kind: Snapshot_Kind.ACTIVE, parent, labels, id: randomUUID() }
    const checks: Check[] = [{ is: 'absent', table, field: key }]
    if (parent !== '') checks.push({ is: 'present', table, field: parent })
    const resource = { type: `snapshots/${snapshotter}`, id: key }
    return this.#set(table, key, encode(Snapshot, Snapshot.fromPartial(record)), {
      checks,
      writes: [
        { op: 'add', table: tables.snapshotStores, field: store },
        ...(parent === ''
          ? []
          : [{ op: 'increment' as const, table: childrenTable(node, snapshotter), field: parent, by: 1 }]),
      ],
      touches: [resource],
      ...(lease === undefined ? {} : { lease: { id: lease, add: [resource] } }),
    })
  }

  /** Turns an active snapshot into a committed one; false when it is not there or the name is taken. */
  async commit(store: string, name: string, key: string, labels: Labels = {}, lease?: string): Promise<boolean> {
    const [node = '', snapshotter = ''] = store.split('/')
    const table = snapshotTable(node, snapshotter)
    const bytes = await this.metadata.get(this.namespace, table, key)
    if (bytes === undefined) return false
    const record = { ...Snapshot.decode(bytes), key: name, kind: Snapshot_Kind.COMMITTED, labels }
    const type = `snapshots/${snapshotter}`
    return this.#set(table, name, encode(Snapshot, record), {
      checks: [
        { is: 'equals', table, field: key, value: bytes },
        { is: 'absent', table, field: name },
      ],
      writes: [{ op: 'delete', table, field: key }],
      touches: [{ type, id: name }],
      ...(lease === undefined ? {} : { lease: { id: lease, add: [{ type, id: name }], remove: [{ type, id: key }] } }),
    })
  }

  /** False when it is not there or has children. */
  async removeSnapshot(store: string, key: string): Promise<boolean> {
    const [node = '', snapshotter = ''] = store.split('/')
    const table = snapshotTable(node, snapshotter)
    const bytes = await this.metadata.get(this.namespace, table, key)
    if (bytes === undefined) return false
    const { parent, id } = Snapshot.decode(bytes)
    const children = childrenTable(node, snapshotter)
    return this.#transact({
      checks: [
        { is: 'equals', table, field: key, value: bytes },
        { is: 'absent', table: children, field: key },
      ],
      writes: [
        { op: 'delete', table, field: key },
        { op: 'add', table: trashTable(node, snapshotter), field: id },
        ...(parent === '' ? [] : [{ op: 'increment' as const, table: children, field: parent, by: -1 }]),
      ],
      deletions: 1,
    })
  }
}
