import { setTimeout as sleep } from 'node:timers/promises'
import { Info } from '@flotilla/api/containerd/services/content/v1/content'
import { Snapshot } from '@flotilla/api/flotilla/metadata/v1/records'
import { childrenTable, createMetadata, type Metadata, snapshotTable, tables, trashTable } from '@flotilla/metadata'
import { seeded, startRedis, type TestRedis } from '@flotilla/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { collectNamespace, type Memory } from './collect-namespace.ts'
import { judge } from './testing/reference-marker.ts'
import { digestNumber, World } from './testing/world.ts'

let redis: TestRedis
let collecting: Metadata
let writing: Metadata[]
const signal = new AbortController().signal
// They take seconds, and more beside other work on the machine.
const timeout = 120_000

beforeAll(async () => {
  redis = await startRedis({ relaxed: true })
  collecting = await createMetadata({ url: redis.url, origin: 'collector' })
  writing = await Promise.all(['a', 'b'].map((origin) => createMetadata({ url: redis.url, origin })))
})

afterAll(async () => {
  for (const metadata of [collecting, ...(writing ?? [])]) await metadata?.[Symbol.asyncDispose]()
  await redis?.[Symbol.asyncDispose]()
})

const expired = { 'containerd.io/gc.expire': '2001-01-01T00:00:00Z' }
const root = { 'containerd.io/gc.root': 'x' }
const store = 'n1/overlayfs'
const snapshots = snapshotTable('n1', 'overlayfs')
/** Content that is made again and again, always as garbage, and that only the collector removes. */
const pool = 40
/** Content with which anything may happen at any time. */
const chaos = 20

/** One client: does things that keep something, sees that it is there, and expects it to stay. */
class Client {
  readonly #world: World
  readonly #name: string
  readonly #random: () => number
  /** Expectations that were met: none would mean that the test looks at nothing. */
  observed = 0

  constructor(world: World, name: string, seed: number) {
    this.#world = world
    this.#name = name
    this.#random = seeded(seed)
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit)
  }

  #digest = () => digestNumber(this.#below(pool))

  /** What a content leads to, as far as it is there now. */
  async #closure(digest: string): Promise<string[]> {
    const seen = new Set<string>()
    const look = async (at: string) => {
      if (seen.has(at)) return
      const bytes = await this.#world.metadata.get(this.#world.namespace, tables.content, at)
      if (bytes === undefined) return
      seen.add(at)
      for (const [key, value] of Object.entries(Info.decode(bytes).labels))
        if (key.startsWith('containerd.io/gc.ref.content')) await look(value)
    }
    await look(digest)
    return [...seen]
  }

  async #stays(why: string, digest: string): Promise<void> {
    const seen = await this.#closure(digest)
    await sleep(this.#below(25))
    for (const one of seen) {
      if (!(await this.#world.has(tables.content, one)))
        throw new Error(`${this.#name}: ${one} was there and is kept by ${why} of ${digest}, but is gone`)
      this.observed++
    }
  }

  async #mustHave(why: string, table: string, field: string): Promise<void> {
    await sleep(this.#below(25))
    if (!(await this.#world.has(table, field))) throw new Error(`${this.#name}: ${table} ${field} (${why}) is gone`)
    this.observed++
  }

  async act(): Promise<void> {
    const world = this.#world
    const digest = this.#digest()
    const mine = `${this.#name}-${this.#below(3)}`
    const own = digestNumber(1_000_000 + Number.parseInt(this.#name, 10) * 100 + this.#below(3))
    switch (this.#below(12)) {
      case 0:
        await world.lease(mine)
        await world.join(mine, 'content', digest)
        await this.#stays('a lease', digest)
        await world.deleteLease(mine)
        break
      case 1:
        await world.image(mine, digest)
        await this.#stays('an image', digest)
        await world.deleteImage(mine)
        break
      case 2:
        await world.content(own, root)
        await world.relabel(own, { ...root, 'containerd.io/gc.ref.content.0': digest })
        await this.#stays('a label', digest)
        await world.deleteContent(own)
        break
      case 3: {
        // Upon a chain that is garbage, if it is there still.
        const key = `active ${mine}`
        if (await world.prepare(store, key, `chain ${this.#below(6)} 3`, root)) {
          await this.#mustHave('a root', snapshots, key)
          const bytes = await world.metadata.get(world.namespace, snapshots, key)
          for (let at = bytes && Snapshot.decode(bytes); at && at.parent !== ''; ) {
            const parent = await world.metadata.get(world.namespace, snapshots, at.parent)
            if (parent === undefined)
              throw new Error(`${this.#name}: snapshot "${at.parent}" lost from under ${at.key}`)
            this.observed++
            at = Snapshot.decode(parent)
          }
          await world.removeSnapshot(store, key)
        }
        break
      }
      case 4: {
        await world.lease(mine)
        if (await world.prepare(store, `extract ${mine}`, '', {}, mine)) {
          await this.#mustHave('a lease', snapshots, `extract ${mine}`)
          if (await world.commit(store, `layer ${mine}`, `extract ${mine}`, {}, mine)) {
            await this.#mustHave('a lease, committed', snapshots, `layer ${mine}`)
            await world.container(mine, 'overlayfs', `layer ${mine}`)
            await world.deleteLease(mine)
            await this.#mustHave('a container', snapshots, `layer ${mine}`)
            await world.deleteContainer(mine)
          }
        }
        await world.deleteLease(mine)
        break
      }
      case 5:
        await world.container(mine, '', '')
        await world.deleteContent(own)
        await world.content(own, {
          'containerd.io/gc.bref.container': mine,
          'containerd.io/gc.ref.content.0': digest,
        })
        await this.#stays('a back reference', own)
        await world.deleteContainer(mine)
        break
      case 6:
        // Made, deleted and made again while a lease waits for it.
        await world.lease(mine)
        await world.join(mine, 'content', own)
        for (let i = 0; i < 3; i++) {
          await world.deleteContent(own)
          await world.content(own, { 'containerd.io/gc.ref.content.0': digest })
        }
        await this.#stays('a lease', own)
        await world.deleteLease(mine)
        break
      case 7:
        // A lease that was expired when marking began, made again.
        await world.lease(mine, expired)
        await sleep(this.#below(10))
        await world.deleteLease(mine)
        await world.lease(mine)
        await world.join(mine, 'content', digest)
        await this.#mustHave('a new lease', tables.leases, mine)
        await this.#stays('a lease made again', digest)
        await world.deleteLease(mine)
        break
      case 8:
        // An image that was expired when marking began, and is no more.
        await world.image(mine, digest, expired)
        await sleep(this.#below(10))
        await world.image(mine, digest)
        await this.#mustHave('not expired', tables.images, mine)
        await this.#stays('an image', digest)
        await world.deleteImage(mine)
        break
      case 9: {
        // A flat lease keeps one; an image then keeps all that it leads to.
        await world.lease(mine, { 'containerd.io/gc.flat': 'x' })
        await world.join(mine, 'content', digest)
        if (await world.has(tables.content, digest)) {
          await this.#mustHave('a flat lease', tables.content, digest)
          await world.image(mine, digest)
          await this.#stays('an image', digest)
          await world.deleteImage(mine)
        }
        await world.deleteLease(mine)
        break
      }
      default: {
        const some = digestNumber(pool + this.#below(chaos))
        const labels = { 'containerd.io/gc.ref.content.0': digestNumber(this.#below(pool + chaos)) }
        const what = this.#below(3)
        if (what === 0) await world.deleteContent(some)
        else if (what === 1) await world.relabel(some, this.#random() < 0.5 ? labels : { ...labels, ...root })
        else await world.content(some, labels)
      }
    }
  }
}

/** Makes what nobody wants, until it is told to stop. */
async function litter(world: World, seed: number, stop: () => boolean): Promise<void> {
  const random = seeded(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  while (!stop()) {
    const number = below(pool)
    // References go upwards only, so that garbage is a forest and not one lump.
    const next = number + 1 + below(5)
    await world.content(
      digestNumber(number),
      next < pool ? { 'containerd.io/gc.ref.content.l.0': digestNumber(next) } : {},
    )
    if (below(4) === 0) {
      const chain = below(6)
      for (let i = 0; i < 4; i++) {
        const key = `work ${chain} ${i}`
        await world.prepare(store, key, i === 0 ? '' : `chain ${chain} ${i - 1}`)
        await world.commit(store, `chain ${chain} ${i}`, key)
      }
    }
    await sleep(below(4))
  }
}

test.each([
  [1, false],
  [2, false],
  [3, false],
  [4, true],
  [5, true],
  [6, true],
])(
  'clients at work while collections run, seed %i, each with the memory of the one before: %s; what is kept stays, the rest goes',
  { timeout },
  async (seed, remembering) => {
    const namespace = `race-${seed}`
    const worlds = writing.map((metadata) => new World(metadata, namespace))
    const world = (n: number) => worlds[n % worlds.length] as World
    const clients = Array.from({ length: 12 }, (_, n) => new Client(world(n), String(n), seed * 1_000 + n))
    let over = false
    const seen = { runs: 0, removed: 0 }
    let memory: Memory | undefined

    const collect = async () => {
      const random = seeded(seed)
      while (!over) {
        const marked = () => sleep(Math.floor(random() * 12))
        const collected = await collectNamespace(collecting, namespace, signal, { memory, marked })
        if (collected === undefined) throw new Error('nobody else collects here')
        if (remembering) {
          expect(collected.memory).toBeDefined()
          memory = collected.memory
        }
        expect(collected.odd).toEqual([])
        seen.runs++
        seen.removed += Object.values(collected.removed).reduce((sum, count) => sum + count, 0)
      }
    }
    const work = async () => {
      try {
        await Promise.all(
          clients.map(async (client) => {
            for (let i = 0; i < 120; i++) await client.act()
          }),
        )
      } finally {
        over = true
      }
    }
    await Promise.all([work(), collect(), litter(world(0), seed, () => over), litter(world(1), seed + 50, () => over)])

    for (const client of clients) expect(client.observed).toBeGreaterThan(20)
    expect(seen.runs).toBeGreaterThan(3)
    expect(seen.removed).toBeGreaterThan(100)

    // At rest: one run for what was floating when the last one began, then nothing is left to do.
    await collectNamespace(collecting, namespace, signal, { memory })
    const { keep, all } = await judge(collecting, namespace)
    expect([...all].sort()).toEqual([...keep].sort())

    // No driver id was lost: each is a snapshot's or trash.
    const rows = await collecting.all(namespace, snapshots)
    const records = rows.map(([, bytes]) => Snapshot.decode(bytes))
    const children = new Map<string, number>()
    for (const { parent } of records) if (parent !== '') children.set(parent, (children.get(parent) ?? 0) + 1)
    const counted = await collecting.all(namespace, childrenTable('n1', 'overlayfs'))
    expect(new Map(counted.map(([key, count]) => [key, Number(String(count))]))).toEqual(children)
    const trash = await collecting.members(namespace, trashTable('n1', 'overlayfs'))
    expect(new Set(trash).size + new Set(records.map(({ id }) => id)).size).toBe(
      new Set([...trash, ...records.map(({ id }) => id)]).size,
    )
  },
)

test('beside writers that never pause, a collection comes to its end', { timeout }, async () => {
  const namespace = 'busy'
  const garbage = new World(collecting, namespace)
  for (let n = 0; n < 300; n++)
    await garbage.content(digestNumber(n), { 'containerd.io/gc.ref.content.0': digestNumber(n + 1) })
  await garbage.lease('L')
  let over = false
  let writes = 0
  const write = async (metadata: Metadata, name: string) => {
    const world = new World(metadata, namespace)
    for (let i = 0; !over; i++) {
      await world.content(digestNumber(1_000_000 + writes++), {}, 'L')
      await world.image(`${name} ${i % 10}`, digestNumber(1_000_000 + i))
    }
  }
  const writers = writing.flatMap((metadata, m) => [0, 1, 2, 3].map((n) => write(metadata, `${m}-${n}`)))
  try {
    const collected = await collectNamespace(collecting, namespace, signal, { marked: () => sleep(50) })
    expect(collected?.removed.content).toBe(300)
  } finally {
    over = true
    await Promise.all(writers)
  }
  expect(writes).toBeGreaterThan(100)
  expect(await collecting.size(namespace, tables.content)).toBe(writes)
})
