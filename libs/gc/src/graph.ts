import { addressOf, type GraphObject, type Reach, reachedFlat, reachedFully, type SnapshotStore } from './objects.ts'
import type { Pace } from './pace.ts'

const snapshotPrefix = 'snapshots/'

/**
 * The objects of one namespace and what is reached of them. It only ever grows more reached: an object that was looked
 * at again replaces its earlier form, and what that one had reached stays so until the next collection.
 */
export class Graph {
  readonly #objects = new Map<string, GraphObject>()
  /** Objects that want to be kept with another, by the other's member. */
  readonly #backRefs = new Map<string, GraphObject[]>()
  readonly #stores = new Map<string, SnapshotStore[]>()
  readonly #now: number
  #pending: GraphObject[] = []
  /** Earliest time at which a root of now expires; `-Infinity` when what is reached depends on time otherwise. */
  nextExpiry = Number.POSITIVE_INFINITY

  /** @param now milliseconds since the epoch that counts as the time of this collection */
  constructor(now: number) {
    this.#now = now
  }

  get size(): number {
    return this.#objects.size
  }

  objects(): IterableIterator<GraphObject> {
    return this.#objects.values()
  }

  /** Lets references to a snapshotter find this store's snapshots. */
  addStore(store: SnapshotStore): void {
    this.#stores.set(store.snapshotter, [...(this.#stores.get(store.snapshotter) ?? []), store])
  }

  storesOf(snapshotter: string): readonly SnapshotStore[] {
    return this.#stores.get(snapshotter) ?? []
  }

  get(table: string, field: string): GraphObject | undefined {
    return this.#objects.get(addressOf(table, field))
  }

  /** Adds an object, or its newer form; gives the one that stands for it from now on. */
  add(newer: GraphObject): GraphObject {
    const address = addressOf(newer.table, newer.field)
    const earlier = this.#objects.get(address)
    // The earlier one stays the same thing: whoever means to remove it sees what has become of it.
    const object = earlier ? Object.assign(earlier, newer, { reach: earlier.reach }) : newer
    if (earlier === undefined) this.#objects.set(address, object)
    for (const member of object.backRefs) {
      const holders = this.#backRefs.get(member)
      if (holders) holders.push(object)
      else this.#backRefs.set(member, [object])
    }
    if (object.conditions.length > 0) this.nextExpiry = Number.NEGATIVE_INFINITY
    if (object.root && object.expires !== undefined) this.nextExpiry = Math.min(this.nextExpiry, object.expires)
    if (object.root) this.reach(object)
    return object
  }

  /** Forgets an object that is no more. Should it be made again, that is another one. */
  remove(object: GraphObject): void {
    this.#objects.delete(addressOf(object.table, object.field))
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
      else this.#followFlat(object)
      if (pace.spent()) await pace.rest()
    }
  }

  #follow(object: GraphObject): void {
    const how = object.flat ? reachedFlat : reachedFully
    for (const member of object.refs) this.#reachMember(member, how)
    if (object.target !== undefined) this.#reachMember(object.target, reachedFully)
    if (object.parent !== undefined) this.#reachAddress(object.parent, reachedFully)
    for (const holder of this.#backRefs.get(object.member) ?? [])
      if (this.get(holder.table, holder.field) === holder) this.#reachOnce(holder, reachedFully)
    for (const { member, is, age } of object.conditions) {
      for (const snapshot of this.#resolve(member)) {
        if (snapshot.usedAt === undefined) continue
        const actual = this.#now - snapshot.usedAt
        if (is === '<' ? actual < age : actual > age) this.#reachOnce(snapshot, reachedFully)
      }
    }
  }

  #followFlat(object: GraphObject): void {
    if (object.target !== undefined) this.#reachMember(object.target, reachedFlat)
    if (object.parent !== undefined) this.#reachAddress(object.parent, reachedFlat)
  }

  /** The objects that a reference means: none when it dangles, several for a snapshot that several nodes have. */
  #resolve(member: string): GraphObject[] {
    if (!member.startsWith(snapshotPrefix)) {
      const object = this.#objects.get(member)
      return object ? [object] : []
    }
    const end = member.indexOf('\0')
    const found: GraphObject[] = []
    for (const store of this.storesOf(member.slice(snapshotPrefix.length, end))) {
      const object = this.get(store.table, member.slice(end + 1))
      if (object) found.push(object)
    }
    return found
  }

  #reachMember(member: string, how: Reach): void {
    for (const object of this.#resolve(member)) this.#reachOnce(object, how)
  }

  #reachAddress(address: string, how: Reach): void {
    const object = this.#objects.get(address)
    if (object) this.#reachOnce(object, how)
  }

  #reachOnce(object: GraphObject, how: Reach): void {
    if (object.reach < how) this.reach(object, how)
  }
}
