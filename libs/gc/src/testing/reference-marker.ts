import { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import { Info } from '@flotilla/api/containerd/services/content/v1/content'
import { Image } from '@flotilla/api/containerd/services/images/v1/images'
import { Lease } from '@flotilla/api/containerd/services/leases/v1/leases'
import { Sandbox } from '@flotilla/api/containerd/types/types'
import { Ingest, Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import { leaseTable, type Metadata, snapshotTable, tables, toMillis } from '@flotilla/metadata'

type Thing = {
  readonly address: string
  readonly kind: string
  readonly id: string
  readonly labels: Readonly<Record<string, string>>
  readonly target?: string
  readonly parent?: string
  readonly store?: string
  readonly container?: { readonly snapshotter: string; readonly key: string }
  readonly expireAt?: number | undefined
  readonly adopts?: string
}

/**
 * What has to be kept of a namespace at rest, found in the simplest way: over and over through everything, by the rules
 * as they are written, until nothing changes. It shares no code with the collector, which is measured by it.
 *
 * @returns `TABLE FIELD` of each object to keep, and of each that there is
 */
export async function judge(
  metadata: Metadata,
  namespace: string,
  now = Date.now(),
): Promise<{ keep: Set<string>; all: Set<string> }> {
  const things = await everything(metadata, namespace)
  const full = new Set<Thing>()
  const flat = new Set<Thing>()
  // The only unreadable times in the tests are these two.
  const past = (label: string | undefined) =>
    label !== undefined && !/soon|02-30/.test(label) && Date.parse(label) < now

  const named = (kind: string, id: string, snapshotter?: string) =>
    things.filter((thing) => thing.kind === kind && thing.id === id && thing.store?.split('/')[1] === snapshotter)
  const held = (type: string, id: string) => {
    const [kind = '', snapshotter] = type.split('/')
    return named(kind, id, snapshotter)
  }
  /** Things that labels with this beginning mean. */
  const meant = (thing: Thing, beginning: string): Thing[] =>
    Object.entries(thing.labels).flatMap(([key, value]) => {
      if (!key.startsWith(beginning)) return []
      const rest = key.slice(beginning.length)
      const snapshotter = /^snapshot\.([^/]*)/.exec(rest)?.[1]
      if (snapshotter !== undefined) return named('snapshots', value, snapshotter)
      const kind = /^(content|image|container)(?:[./].*)?$/.exec(rest)?.[1]
      if (kind === undefined) return []
      return named({ content: 'content', image: 'images', container: 'containers' }[kind] ?? '', value)
    })
  const conditional = (thing: Thing): Thing[] =>
    Object.entries(thing.labels).flatMap(([key, value]) => {
      const snapshotter = /^containerd\.io\/gc\.cond\.snapshot\.([^/]*)/.exec(key)?.[1]
      const [, conditions, id] = /^([^|]*)\|(.*)$/s.exec(value) ?? []
      if (snapshotter === undefined || conditions === undefined || id === undefined) return []
      return named('snapshots', id, snapshotter).filter((snapshot) => {
        const age = now - Date.parse(snapshot.labels['containerd.io/gc.cond.value-usedat'] ?? '')
        return conditions.split(',').some((condition) => {
          const [, is, hours] = /^usedat([<>])(\d+)h$/.exec(condition) ?? []
          return is === '<' ? age < Number(hours) * 3_600_000 : is === '>' && age > Number(hours) * 3_600_000
        })
      })
    })

  for (const thing of things) {
    const expires = thing.labels['containerd.io/gc.expire']
    const root =
      thing.kind === 'containers' ||
      thing.kind === 'sandboxes' ||
      ((thing.kind === 'images' || thing.kind === 'leases') && !past(expires)) ||
      (thing.kind === 'ingests' && thing.expireAt !== undefined && thing.expireAt >= now) ||
      ((thing.kind === 'content' || thing.kind === 'snapshots') &&
        Object.keys(thing.labels).some((key) => key.startsWith('containerd.io/gc.root')))
    if (root) full.add(thing)
  }

  for (let before = -1; before !== full.size + flat.size; ) {
    before = full.size + flat.size
    for (const thing of full) {
      if (thing.kind === 'leases') {
        const into = 'containerd.io/gc.flat' in thing.labels ? flat : full
        for (const member of await metadata.members(namespace, leaseTable(thing.id))) {
          const [type = '', id = ''] = member.split('\0')
          for (const one of held(type, id)) into.add(one)
        }
        continue
      }
      for (const one of meant(thing, 'containerd.io/gc.ref.')) if (one.kind !== 'containers') full.add(one)
      if (thing.kind === 'images' || thing.kind === 'content') for (const one of conditional(thing)) full.add(one)
      if (thing.target) for (const one of named('content', thing.target)) full.add(one)
      if (thing.adopts) for (const one of named('content', thing.adopts)) full.add(one)
      if (thing.container)
        for (const one of named('snapshots', thing.container.key, thing.container.snapshotter)) full.add(one)
      for (const one of things) if (one.store === thing.store && thing.parent && one.id === thing.parent) full.add(one)
    }
    for (const thing of flat) {
      if (thing.target) for (const one of named('content', thing.target)) flat.add(one)
      for (const one of things) if (one.store === thing.store && thing.parent && one.id === thing.parent) flat.add(one)
    }
    for (const thing of things) {
      if (!['content', 'snapshots', 'images'].includes(thing.kind)) continue
      if (meant(thing, 'containerd.io/gc.bref.').some((one) => full.has(one))) full.add(thing)
    }
  }
  return {
    keep: new Set([...full, ...flat].map(({ address }) => address)),
    all: new Set(things.map(({ address }) => address)),
  }
}

async function everything(metadata: Metadata, namespace: string): Promise<Thing[]> {
  const things: Thing[] = []
  const rows = async (table: string, read: (bytes: Buffer) => Partial<Thing>, kind = table, store?: string) => {
    for (const [id, bytes] of await metadata.all(namespace, table))
      things.push({
        address: `${table} ${id}`,
        kind,
        id,
        labels: {},
        ...(store === undefined ? {} : { store }),
        ...read(bytes),
      })
  }
  await rows(tables.leases, (bytes) => ({ labels: Lease.decode(bytes).labels }))
  await rows(tables.images, (bytes) => {
    const { labels, target } = Image.decode(bytes)
    return { labels, target: target?.digest ?? '' }
  })
  await rows(tables.content, (bytes) => ({ labels: Info.decode(bytes).labels }))
  await rows(tables.sandboxes, (bytes) => ({ labels: Sandbox.decode(bytes).labels }))
  await rows(tables.containers, (bytes) => {
    const { labels, snapshotter, snapshotKey } = Container.decode(bytes)
    return { labels, container: { snapshotter, key: snapshotKey } }
  })
  await rows(tables.ingests, (bytes) => {
    const { expireAt, adopts } = Ingest.decode(bytes)
    return { adopts, expireAt: expireAt && toMillis(expireAt) }
  })
  for (const store of await metadata.members(namespace, tables.snapshotStores)) {
    const [node = '', snapshotter = ''] = store.split('/')
    const read = (bytes: Buffer) => {
      const { labels, parent } = Snapshot.decode(bytes)
      return { labels, parent }
    }
    await rows(snapshotTable(node, snapshotter), read, 'snapshots', store)
  }
  return things
}
