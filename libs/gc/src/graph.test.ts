import { SnapshotRemove } from '@flotilla/api/containerd/events/events'
import { ImageDelete } from '@flotilla/api/containerd/services/images/v1/images'
import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import { childrenTable, leaseTable, type Metadata, snapshotTable, tables, trashTable } from '@flotilla/metadata'
import { seeded } from '@flotilla/testing'
import { outboxOf } from '@flotilla/testing/metadata-suite'
import { expect, test } from 'vitest'
import { collectNamespace } from './collect-namespace.ts'
import { contentTrashTable } from './removal.ts'
import { judge } from './testing/reference-marker.ts'
import { withStore } from './testing/store.ts'
import { digestNumber, World } from './testing/world.ts'

let metadata: Metadata
const signal = new AbortController().signal

withStore((store) => {
  metadata = store
})

const stores = ['n1/overlayfs', 'n2/overlayfs', 'n1/native']

/** A namespace full of objects that refer to each other in all ways there are, the same for the same seed. */
async function generate(world: World, seed: number): Promise<void> {
  const random = seeded(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  const one = <T>(choices: readonly T[]): T => choices[below(choices.length)] as T
  const density = 0.2 + random() * 0.8
  const digest = () => digestNumber(below(16))
  const image = () => `image ${below(7)}`
  const key = () => `sha256:key ${below(9)}`
  const container = () => `c${below(4)}`
  const suffix = () => one(['', '.0', '/x', '.a.b/c', '2'])
  const slash = () => one(['', '/0', '/a/b'])
  const time = () => one(['2001-01-01T00:00:00Z', '2999-01-01T00:00:00Z', 'soon', '2001-02-30T00:00:00Z'])
  const snapshotter = () => one(['overlayfs', 'native', 'missing'])

  const label = (): [string, string] => {
    switch (below(12)) {
      case 0:
      case 1:
        return [`containerd.io/gc.ref.content${suffix()}`, digest()]
      case 2:
        return [`containerd.io/gc.ref.snapshot.${snapshotter()}${slash()}`, key()]
      case 3:
        return [`containerd.io/gc.ref.image${suffix()}`, image()]
      case 4:
        return [`containerd.io/gc.bref.container${suffix()}`, container()]
      case 5:
        return [`containerd.io/gc.bref.content${suffix()}`, digest()]
      case 6:
        return [`containerd.io/gc.bref.image${suffix()}`, image()]
      case 7:
        return [`containerd.io/gc.bref.snapshot.${snapshotter()}${slash()}`, key()]
      case 8:
        return [
          `containerd.io/gc.cond.snapshot.${snapshotter()}${slash()}`,
          `${one(['usedat<24h', 'usedat>24h', 'other<1h,usedat<24h', 'usedat=24h', 'usedat<x'])}|${key()}`,
        ]
      case 9:
        return ['containerd.io/gc.cond.value-usedat', new Date(Date.now() - one([1, 100]) * 3_600_000).toISOString()]
      case 10:
        return ['containerd.io/gc.expire', time()]
      default:
        return ['some/other', digest()]
    }
  }
  const labels = (root = 0): Record<string, string> => ({
    ...Object.fromEntries(Array.from({ length: below(4) * density }, label)),
    ...(random() < root ? { [one(['containerd.io/gc.root', 'containerd.io/gc.rooted'])]: 'yes' } : {}),
  })

  for (let n = 0; n < 16; n++) if (random() < 0.8) await world.content(digestNumber(n), labels(0.1))
  for (let n = 0; n < 7; n++) if (random() < 0.7) await world.image(`image ${n}`, digest(), labels())
  for (let n = 0; n < 30; n++) await world.prepare(one(stores), key(), random() < 0.6 ? key() : '', labels(0.1))
  for (let n = 0; n < 4; n++)
    if (random() < 0.4) await world.container(`c${n}`, one(['', 'overlayfs', 'native']), key(), labels())
  if (random() < 0.3) await world.sandbox('s', labels())
  for (let n = 0; n < 5; n++)
    if (random() < 0.7)
      await world.ingest(
        `ref ${n}`,
        one([undefined, Date.now() - 1_000, Date.now() + 3_600_000]),
        random() < 0.5 ? digest() : '',
      )
  for (let n = 0; n < 3; n++) {
    await world.lease(`lease ${n}`, {
      ...(random() < 0.4 ? { 'containerd.io/gc.flat': 'x' } : {}),
      ...(random() < 0.5 ? { 'containerd.io/gc.expire': time() } : {}),
    })
    for (let i = below(4); i > 0; i--) {
      const [type, id] = one([
        ['content', digest()],
        ['images', image()],
        ['ingests', `ref ${below(5)}`],
        [`snapshots/${snapshotter()}`, key()],
      ] as const)
      await world.join(`lease ${n}`, type, id)
    }
  }
}

const byText = (a: string, b: string) => (a < b ? -1 : 1)
const sorted = (items: Iterable<string>) => [...items].sort(byText)

test.each(Array.from({ length: 150 }, (_, seed) => seed))(
  'a generated namespace, seed %i: what is kept is what is referred to',
  async (seed) => {
    const namespace = `seed-${seed}`
    const world = new World(metadata, namespace)
    await generate(world, seed)
    const before = await judge(metadata, namespace)
    const ids = new Map<string, string>()
    for (const store of stores) {
      const [node = '', snapshotter = ''] = store.split('/')
      for (const [key, bytes] of await metadata.all(namespace, snapshotTable(node, snapshotter)))
        ids.set(`${store} ${key}`, Snapshot.decode(bytes).id)
    }

    const collected = await collectNamespace(metadata, namespace, signal)

    const after = await judge(metadata, namespace)
    expect(sorted(after.all)).toEqual(sorted(before.keep))
    const gone = sorted(before.all).filter((address) => !before.keep.has(address))
    const goneFrom = (table: string) =>
      gone.filter((address) => address.startsWith(`${table} `)).map((address) => address.slice(table.length + 1))
    expect(collected?.odd).toEqual([])
    expect(collected?.removed).toEqual({
      images: goneFrom('images').length,
      content: goneFrom('content').length,
      ingests: goneFrom('ingests').length,
      leases: goneFrom('leases').length,
      snapshots: gone.filter((address) => address.startsWith('snapshots:')).length,
    })

    const events = await outboxOf(metadata, namespace)
    const images = events
      .filter(({ topic }) => topic === '/images/delete')
      .map(({ value }) => ImageDelete.decode(value).name)
    expect(sorted(images)).toEqual(sorted(goneFrom('images')))
    expect(await metadata.members(namespace, contentTrashTable)).toEqual(sorted(goneFrom('content')))
    for (const lease of goneFrom('leases')) expect(await metadata.size(namespace, leaseTable(lease))).toBe(0)
    let removed = 0
    for (const store of stores) {
      const [node = '', snapshotter = ''] = store.split('/')
      const lost = goneFrom(snapshotTable(node, snapshotter))
      removed += lost.length
      expect(await metadata.members(namespace, trashTable(node, snapshotter))).toEqual(
        sorted(lost.map((key) => ids.get(`${store} ${key}`) ?? '')),
      )
      const children = new Map<string, string>()
      for (const [, bytes] of await metadata.all(namespace, snapshotTable(node, snapshotter))) {
        const { parent } = Snapshot.decode(bytes)
        if (parent !== '') children.set(parent, String(Number(children.get(parent) ?? 0) + 1))
      }
      const counted = await metadata.all(namespace, childrenTable(node, snapshotter))
      expect(new Map(counted.map(([key, count]) => [key, String(count)]))).toEqual(children)
    }
    const removals = events.filter(({ topic }) => topic === '/snapshot/remove')
    expect(removals).toHaveLength(removed)
    for (const { type, value, node } of removals) {
      expect(type).toBe('containerd.events.SnapshotRemove')
      const { key, snapshotter } = SnapshotRemove.decode(value)
      expect(gone).toContain(`${snapshotTable(node, snapshotter)} ${key}`)
    }

    for (const table of [tables.gcRun, tables.gcDirty, 'gc-watch'])
      expect(await metadata.size(namespace, table)).toBe(0)
  },
)
