import { asked, keyOf, leaseTable, mapRedisError, parseResourceMember, tables } from '@flotilla/metadata'
import { append } from './append.ts'
import type { Graph } from './graph.ts'
import { type GraphObject, parseStore, plainTables, readObject, type SnapshotStore, unreached } from './objects.ts'
import type { Pace } from './pace.ts'
import type { Run } from './run.ts'

/** Records asked for at once: 0.2 ms of Redis's time. */
const batch = 200
/** Containers carry their whole spec, tens of kilobytes. */
const containerBatch = 40
/** Leases whose resources are asked for at once. */
const leaseBatch = 50

/** Fields of records by where those are: a table, or a store's. */
type Places = Map<string | SnapshotStore, string[]>

/** Brings the records of a namespace into a graph, and again those that were written meanwhile. */
export class Survey {
  readonly #run: Run
  readonly #graph: Graph
  readonly #pace: Pace
  /** Every driver id read, by `NODE/SNAPSHOTTER`; more than there are records at any one time. */
  readonly driverIds = new Map<string, Set<string>>()
  /** Whether something that nothing else seemed to keep was kept for having been written meanwhile. */
  floating = false

  constructor(run: Run, graph: Graph, pace: Pace) {
    this.#run = run
    this.#graph = graph
    this.#pace = pace
  }

  /** Reads everything into an empty graph and marks what is reached. */
  async readAll(): Promise<void> {
    await this.#findStores()
    for (const table of plainTables) await this.#scan(table, table === tables.containers ? containerBatch : batch)
    for (const store of this.#graph.stores) await this.#scan(store, batch)
    await this.#graph.spread(this.#pace)
  }

  /**
   * Reads what has changed since the graph was known by `mark`, and marks what is reached then.
   *
   * @param now milliseconds since the epoch that counts as the time of this collection
   * @returns false when that is not known any more: then everything has to be read, into another graph
   */
  async readChanged(mark: string, now: number): Promise<boolean> {
    for (;;) {
      const records = await this.#run.takeChanged(mark)
      if (records === undefined) return false
      if (records.length === 0) break
      // A record in a new store made that known in the same step, before it could be among the changed.
      await this.#findStores()
      const places: Places = new Map()
      for (const record of records) {
        const { type: table, id: field } = parseResourceMember(record)
        append(places, this.#graph.storeIn(table) ?? table, field)
      }
      for (const [place, fields] of places) await this.#readSome(place, fields, () => {})
    }
    // Only now: what is gone shall reach nothing.
    await this.#graph.renew(now, this.#pace)
    await this.#graph.spread(this.#pace)
    return true
  }

  /** Reads again what was written since the last time, keeps it and marks on from it. */
  async catchUp(): Promise<void> {
    for await (const members of this.#run.dirty()) {
      // The first snapshot in a store makes the store known in the same step, so it is known here.
      await this.#findStores()
      for (const [place, fields] of this.#places(new Set(members)))
        await this.#readSome(place, fields, (object, wasUnreached) => {
          if (wasUnreached && !this.#graph.isRoot(object)) this.floating = true
          this.#graph.reach(object)
        })
    }
    await this.#graph.spread(this.#pace)
  }

  /**
   * Reads records, and forgets objects that have none any more.
   *
   * @param read called for each object that was read; `wasUnreached` when it was there before and nothing kept it
   */
  async #readSome(
    place: string | SnapshotStore,
    fields: readonly string[],
    read: (object: GraphObject, wasUnreached: boolean) => void,
  ): Promise<void> {
    const size = place === tables.containers ? containerBatch : batch
    for (let at = 0; at < fields.length; at += size) await this.#readPiece(place, fields.slice(at, at + size), read)
  }

  async #readPiece(
    place: string | SnapshotStore,
    fields: readonly string[],
    read: (object: GraphObject, wasUnreached: boolean) => void,
  ): Promise<void> {
    const table = typeof place === 'string' ? place : place.table
    const { metadata, namespace } = this.#run
    const objects: GraphObject[] = []
    const records = await metadata.getMany(namespace, table, fields)
    this.#pace.fresh()
    for (const [index, bytes] of records.entries()) {
      const field = fields[index] ?? ''
      const earlier = this.#graph.get(table, field)
      if (bytes === undefined) {
        if (earlier) this.#graph.remove(earlier)
        continue
      }
      const wasUnreached = earlier?.reach === unreached
      const object = this.#add(readObject(place, field, bytes), place)
      read(object, wasUnreached)
      objects.push(object)
      if (this.#pace.spent()) await this.#pace.rest()
    }
    if (table === tables.leases) await this.#readHeld(objects)
  }

  #add(newer: GraphObject, place: string | SnapshotStore): GraphObject {
    const object = this.#graph.add(newer)
    if (typeof place === 'string' || object.driverId === undefined) return object
    const name = `${place.node}/${place.snapshotter}`
    const ids = this.driverIds.get(name)
    if (ids) ids.add(object.driverId)
    else this.driverIds.set(name, new Set([object.driverId]))
    return object
  }

  /** Where the records of resources are: of a snapshot, in each of its snapshotter's stores. */
  #places(members: Iterable<string>): Places {
    const places: Places = new Map()
    for (const member of members) {
      const { type, id } = parseResourceMember(member)
      if (plainTables.includes(type)) append(places, type, id)
      else if (type.startsWith('snapshots/'))
        for (const store of this.#graph.storesOf(type.slice('snapshots/'.length))) append(places, store, id)
    }
    return places
  }

  async #findStores(): Promise<void> {
    const { metadata, namespace } = this.#run
    for (const name of await metadata.members(namespace, tables.snapshotStores)) this.#graph.addStore(parseStore(name))
  }

  async #scan(place: string | SnapshotStore, count: number): Promise<void> {
    const table = typeof place === 'string' ? place : place.table
    const { metadata, namespace } = this.#run
    for await (const rows of metadata.scan(namespace, table, count)) {
      this.#pace.fresh()
      const objects: GraphObject[] = []
      for (const [field, bytes] of rows) {
        objects.push(this.#add(readObject(place, field, bytes), place))
        if (this.#pace.spent()) await this.#pace.rest()
      }
      // Nothing leads to a lease, so what those hold that have run out does not count, unless they are written again.
      if (table === tables.leases) await this.#readHeld(objects.filter((lease) => this.#graph.isRoot(lease)))
    }
  }

  /** Gives leases what they hold; in pieces, since one lease may hold very much. */
  async #readHeld(leases: readonly GraphObject[]): Promise<void> {
    const { metadata, namespace } = this.#run
    let open = leases.map((lease) => ({ lease, cursor: '0' }))
    while (open.length > 0) {
      const some = open.slice(0, leaseBatch)
      const pipeline = metadata.redis.pipeline()
      for (const { lease, cursor } of some)
        pipeline.sscan(keyOf(namespace, leaseTable(lease.field)), cursor, 'COUNT', batch)
      const answers = await asked(pipeline.exec())
      this.#pace.fresh()
      const unfinished: typeof open = []
      for (const [index, { lease }] of some.entries()) {
        const [error, answer] = answers?.[index] ?? [new Error('no answer')]
        if (error) throw mapRedisError(error)
        const [cursor, members] = answer as [string, string[]]
        for (const member of members) lease.refs.push(parseResourceMember(member))
        if (cursor !== '0') unfinished.push({ lease, cursor })
        if (this.#pace.spent()) await this.#pace.rest()
      }
      open = [...unfinished, ...open.slice(leaseBatch)]
    }
  }
}
