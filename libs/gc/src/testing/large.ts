import { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import { Info } from '@flotilla/api/containerd/services/content/v1/content'
import { Image } from '@flotilla/api/containerd/services/images/v1/images'
import { Snapshot, Snapshot_Kind } from '@flotilla/api/flotilla/metadata/v1/records'
import { childrenTable, encode, type Metadata, now, snapshotTable, tables, type Write } from '@flotilla/metadata'
import { digestNumber } from './world.ts'

/** Objects of one image of {@link fill}: itself, 13 blobs, 5 snapshots, 1 container. */
export const objectsPerImage = 20

/**
 * Fills a namespace with images as clients leave them after a pull, each unpacked, with a container upon it.
 *
 * @param images how many; each is {@link objectsPerImage} objects
 * @param garbage whether the images and containers themselves are left out, so that all the rest is garbage
 */
export async function fill(metadata: Metadata, namespace: string, images: number, garbage: boolean): Promise<void> {
  const time = now()
  const node = 'node-1'
  const snapshots = snapshotTable(node, 'overlayfs')
  const children = childrenTable(node, 'overlayfs')
  const content = (number: number, labels: Record<string, string>): Write => {
    const digest = digestNumber(number)
    const source = { 'containerd.io/distribution.source.registry.example': 'library/something,library/other' }
    const info = { digest, size: 1_000, labels: { ...source, ...labels }, createdAt: time, updatedAt: time }
    return { op: 'set', table: tables.content, field: digest, value: encode(Info, Info.fromPartial(info)) }
  }
  let writes: Write[] = [{ op: 'add', table: tables.snapshotStores, field: `${node}/overlayfs` }]
  const flush = async () => {
    await metadata.transact(namespace, { writes })
    writes = []
  }
  for (let n = 0; n < images; n++) {
    const first = n * 100
    const layers = Array.from({ length: 11 }, (_, i) => first + 2 + i)
    const chain = Array.from({ length: 4 }, (_, i) => digestNumber(first + 50 + i))
    writes.push(
      content(first, {
        'containerd.io/gc.ref.content.config': digestNumber(first + 1),
        ...Object.fromEntries(layers.map((layer, i) => [`containerd.io/gc.ref.content.l.${i}`, digestNumber(layer)])),
      }),
      content(first + 1, { 'containerd.io/gc.ref.snapshot.overlayfs': chain.at(-1) ?? '' }),
      ...layers.map((layer) => content(layer, { 'containerd.io/uncompressed': digestNumber(layer + 60) })),
    )
    const id = `container-${n}`
    for (const [i, key] of [...chain, id].entries()) {
      const parent = chain[i - 1] ?? ''
      const kind = key === id ? Snapshot_Kind.ACTIVE : Snapshot_Kind.COMMITTED
      const record = { key, kind, parent, id: `${n * 10 + i}`, createdAt: time, updatedAt: time }
      const value = encode(Snapshot, Snapshot.fromPartial(record))
      writes.push({ op: 'set', table: snapshots, field: key, value })
      if (parent !== '') writes.push({ op: 'increment', table: children, field: parent, by: 1 })
    }
    if (!garbage) {
      const image = {
        name: `registry.example/image:${n}`,
        target: { mediaType: 'm', digest: digestNumber(first), size: 9 },
      }
      const spec = {
        typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
        value: Buffer.alloc(4_000, '{'),
      }
      const container = { id, snapshotter: 'overlayfs', snapshotKey: id, image: image.name, spec }
      writes.push(
        { op: 'set', table: tables.images, field: image.name, value: encode(Image, Image.fromPartial(image)) },
        { op: 'set', table: tables.containers, field: id, value: encode(Container, Container.fromPartial(container)) },
      )
    }
    if (writes.length > 1_000) await flush()
  }
  await flush()
}
