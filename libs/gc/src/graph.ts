import { type Resource, resourceMember, tables } from '@flotilla/metadata'
import { append } from './append.ts'
import { type GraphObject, type Reach, reachedFlat, reachedFully, type SnapshotStore, unreached } from './objects.ts'
import type { Pace } from './pace.ts'

const snapshotPrefix = 'snapshots/'

/**
 * The objects of one namespace and what is reached of them. In a collection it only ever grows more reached: an object
 * that was looked at again replaces its earlier form, and what that one had reached stays so until the next collection.
 */
export class Graph {
  /** By table, then by field: no key has to be put together for each object. */
  readonly #tables = new Map<string, Map<string, GraphObject>>()
  /** Objects that want to be kept with another, by the other as {@link resourceMember}. */
  readonly #backRefs = new Map<string, GraphObject[]>()
  /** By the name of their table. */
  readonly #stores = new Map<string, SnapshotStore>()
  readonly #storesOf = new Map<string, SnapshotStore[]>()
  #now: number
  #pending: GraphObject[] = []
  /** Earliest time at which a root of now expires; `-Infinity` when what is reached depends on time otherwise. */
  nextExpiry = Number.POSITIVE_INFINITY

  /** @param now milliseconds since the epoch that counts as the time of this collection */
  constructor(now: number) {
    this.#now = now
  }

  /**
   * Begins another collection: nothing is reached but the roots, of those that have not run out.
   *
   * @param now as in the constructor
   */
  async renew(now: number, pace: Pace): Promise<void> {
    this.#now = now
    this.#pending = []
    this.#backRefs.clear()
    this.nextExpiry = Number.POSITIVE_INFINITY
    for (const object of this.objects()) {
      object.reach = unreached
      this.#take(object)
      if (pace.spent()) await pace.rest()
    }
  }

  get size(): number {
    let size = 0
    for (const objects of this.#tables.values()) size += objects.size
    return size
  }

  *objects(): Generator<GraphObject> {
    for (const objects of this.#tables.values()) yield* objects.values()
  }

  /** Lets references to a snapshotter find this store's snapshots. */
  addStore(store: SnapshotStore): void {
    if (this.#stores.has(store.table)) return
    this.#stores.set(store.table, store)
    append(this.#storesOf, store.snapshotter, store)
  }

  get stores(): readonly SnapshotStore[] {
    return [...this.#stores.values()]
  }

  storesOf(snapshotter: string): readonly SnapshotStore[] {
    return this.#storesOf.get(snapshotter) ?? []
  }

  /** The store whose records are in a table; undefined when that is no table of snapshots, or of none that is known. */
  storeIn(table: string): SnapshotStore | undefined {
    return this.#stores.get(table)
  }

  get(table: string, field: string): GraphObject | undefined {
    return this.#tables.get(table)?.get(field)
  }

  /** Adds an object, or its newer form; gives the one that stands for it from now on. */
  add(newer: GraphObject): GraphObject {
    const { table, field } = newer
    let objects = this.#tables.get(table)
    if (objects === undefined) {
      objects = new Map()
      this.#tables.set(table, objects)
    }
    const earlier = objects.get(field)
    // The earlier one stays the same thing: whoever means to remove it sees what has become of it.
    const object = earlier ? Object.assign(earlier, newer, { reach: earlier.reach }) : newer
    if (earlier === undefined) objects.set(field, object)
    this.#take(object)
    return object
  }

  /** Takes note of what an object means for others and for this collection. */
  #take(object: GraphObject): void {
    for (const keeper of object.backRefs) append(this.#backRefs, resourceMember(keeper), object)
    if (object.conditions.length > 0) this.nextExpiry = Number.NEGATIVE_INFINITY
    if (!this.isRoot(object)) return
    if (object.expires !== undefined) this.nextExpiry = Math.min(this.nextExpiry, object.expires)
    this.reach(object)
  }

  /** Whether an object is kept for its own sake in this collection. */
  isRoot({ root, expires }: GraphObject): boolean {
    return root && (expires === undefined || this.#now <= expires)
  }

  /** Forgets an object that is no more. Should it be made again, that is another one. */
  remove(object: GraphObject): void {
    this.#tables.get(object.table)?.delete(object.field)
    object.reach = reachedFully
  }

  /** Marks an object; {@link spread} then marks what it leads to. Again when it was added in a newer form. */
  reach(object: GraphObject, how: Reach = reachedFully): void {
    if (object.reach < how) object.reach = how
    this.#pending.push(object)
  }

  /** Follows references until nothing new is reached. */
  async spread(pace: Pace): Promise<void> {
    for (let object = this.#pending.pop(); object !== undefined; object = this.#pending.pop()) {
      if (object.reach === reachedFully) this.#follow(object)
      else this.#followAlways(object, reachedFlat)
      if (pace.spent()) await pace.rest()
    }
  }

  #follow(object: GraphObject): void {
    const how = object.flat ? reachedFlat : reachedFully
    for (const { type, id } of object.refs) this.#reachAll(type, id, how)
    this.#followAlways(object, reachedFully)
    if (this.#backRefs.size > 0) {
      for (const holder of this.#backRefs.get(resourceMember({ type: object.type, id: object.field })) ?? [])
        if (this.get(holder.table, holder.field) === holder) this.#reachOnce(holder, reachedFully)
    }
    for (const { snapshot: wanted, is, age } of object.conditions) {
      for (const table of this.#tablesOf(wanted.type)) {
        const snapshot = this.get(table, wanted.id)
        if (snapshot?.usedAt === undefined) continue
        const actual = this.#now - snapshot.usedAt
        if (is === '<' ? actual < age : actual > age) this.#reachOnce(snapshot, reachedFully)
      }
    }
  }

  /** Follows what is followed however far an object is reached. */
  #followAlways(object: GraphObject, how: Reach): void {
    if (object.target !== undefined) this.#reachOne(tables.content, object.target, how)
    if (object.parent !== undefined) this.#reachOne(object.table, object.parent, how)
  }

  /** Where the records of a type are: several tables for snapshots, which several nodes may have under one key. */
  #tablesOf(type: string): readonly string[] {
    if (!type.startsWith(snapshotPrefix)) return [type]
    return this.storesOf(type.slice(snapshotPrefix.length)).map(({ table }) => table)
  }

  /** Reaches what a reference means: nothing when it dangles. */
  #reachAll(type: Resource['type'], id: string, how: Reach): void {
    for (const table of this.#tablesOf(type)) this.#reachOne(table, id, how)
  }

  #reachOne(table: string, field: string, how: Reach): void {
    const object = this.get(table, field)
    if (object) this.#reachOnce(object, how)
  }

  #reachOnce(object: GraphObject, how: Reach): void {
    if (object.reach < how) this.reach(object, how)
  }
}
