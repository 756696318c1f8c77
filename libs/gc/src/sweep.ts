import { tables } from '@flotilla/metadata'
import { append } from './append.ts'
import { Fence } from './fence.ts'
import type { Graph } from './graph.ts'
import { type GraphObject, readObject, type SnapshotStore, unreached } from './objects.ts'
import type { Pace } from './pace.ts'
import { type Condemned, planRemoval, type RemovalPlan } from './removal.ts'
import type { Removal, Run } from './run.ts'
import type { Survey } from './survey.ts'

/** Objects removed in one step: a millisecond of Redis's time, measured with snapshots and content. */
const batchSize = 100
/** Behind the fence steps are small: what Redis reads from us at once, 16 KiB, nobody else's change can split. */
const fencedBatchSize = 40
/** Refusals in a row, since others write meanwhile, after which the fence is raised. */
const patience = 3

export interface Removed {
  images: number
  content: number
  snapshots: number
  ingests: number
  leases: number
}

export const nothingRemoved = (): Removed => ({ images: 0, content: 0, snapshots: 0, ingests: 0, leases: 0 })

/** Removes the records that were not reached, as long as they are not. */
export class Sweep {
  readonly #run: Run
  readonly #graph: Graph
  readonly #survey: Survey
  readonly #pace: Pace
  #fence: Fence | undefined
  #refusals = 0
  readonly removed = nothingRemoved()
  /** Objects kept since their own removal was refused: something is not as the records say. */
  readonly odd: GraphObject[] = []

  constructor(run: Run, graph: Graph, survey: Survey, pace: Pace) {
    this.#run = run
    this.#graph = graph
    this.#survey = survey
    this.#pace = pace
  }

  get fenced(): boolean {
    return this.#fence !== undefined
  }

  async removeAll(): Promise<void> {
    const garbage = new Map<string, GraphObject[]>()
    for (const object of this.#graph.objects()) {
      if (object.reach === unreached) append(garbage, object.table, object)
      if (this.#pace.spent()) await this.#pace.rest()
    }
    const of = (table: string) => garbage.get(table) ?? []
    this.removed.images = await this.#removeFrom(of(tables.images))
    this.removed.leases = await this.#removeFrom(of(tables.leases))
    this.removed.ingests = await this.#removeFrom(of(tables.ingests))
    for (const store of this.#graph.stores)
      this.removed.snapshots += await this.#removeFrom(
        await childrenFirst(of(store.table), this.#graph, this.#pace),
        store,
      )
    this.removed.content = await this.#removeFrom(of(tables.content))
  }

  async #removeFrom(garbage: readonly GraphObject[], store?: SnapshotStore): Promise<number> {
    let removed = 0
    for (let at = 0; at < garbage.length; ) {
      const some = garbage.slice(at, at + (this.#fence ? fencedBatchSize : batchSize))
      at += some.length
      removed += await this.#removeSome(some, store)
      this.#pace.fresh()
    }
    return removed
  }

  /** Removes those of a batch that are still garbage; gives how many. */
  async #removeSome(batch: readonly GraphObject[], store: SnapshotStore | undefined): Promise<number> {
    let left = await this.#condemn(batch, store, false)
    while (left.length > 0) {
      const { plan, counted } = planRemoval(left, store)
      const [, removal] = await Promise.all([this.#fence?.discharge(), this.#run.remove(plan)])
      if (removal === 'done') {
        this.#refusals = 0
        for (const { object } of left) this.#graph.remove(object)
        return left.length
      }
      await this.#mend(removal, counted)
      left = await this.#condemn(
        left.map(({ object }) => object),
        store,
        removal !== 'dirty',
      )
    }
    return 0
  }

  /** Makes good for what refused a removal. */
  async #mend(removal: Exclude<Removal, 'done'>, counted: RemovalPlan['counted']): Promise<void> {
    if (removal === 'dirty') {
      await this.#survey.catchUp()
      await this.#fence?.lower()
      if (++this.#refusals >= patience) this.#fence ??= await Fence.raise(this.#run, this.#graph, this.#pace)
      return
    }
    // A record that is gone, or another one, is seen when the batch is read again.
    const refused = counted[removal.check]
    if (refused === undefined) return
    this.odd.push(refused)
    this.#graph.reach(refused)
    await this.#graph.spread(this.#pace)
  }

  /**
   * Those that are still there and not reached, with their records. Content is only read when asked for, as nothing in
   * its own record matters to its removal.
   */
  async #condemn(
    batch: readonly GraphObject[],
    store: SnapshotStore | undefined,
    readContent: boolean,
  ): Promise<Condemned[]> {
    const left = batch.filter(({ reach }) => reach === unreached)
    const [first] = left
    if (first === undefined) return []
    if (first.table === tables.content && !readContent) return left.map((object) => ({ object, bytes: undefined }))
    const { metadata, namespace } = this.#run
    const records = await metadata.getMany(
      namespace,
      first.table,
      left.map(({ field }) => field),
    )
    const condemned: Condemned[] = []
    for (const [index, object] of left.entries()) {
      const bytes = records[index]
      if (bytes === undefined) {
        this.#graph.remove(object)
        continue
      }
      const current = this.#graph.add(readObject(store ?? object.table, object.field, bytes))
      condemned.push({ object: current, bytes: current.table === tables.content ? undefined : bytes })
    }
    await this.#graph.spread(this.#pace)
    return condemned.filter(({ object }) => object.reach === unreached)
  }
}

/** Snapshots in an order in which each comes after all that are upon it. */
async function childrenFirst(snapshots: readonly GraphObject[], graph: Graph, pace: Pace): Promise<GraphObject[]> {
  const parentOf = ({ table, parent }: GraphObject) => {
    const object = parent === undefined ? undefined : graph.get(table, parent)
    return object?.reach === unreached ? object : undefined
  }
  const children = new Map<GraphObject, number>()
  for (const object of snapshots) {
    const parent = parentOf(object)
    if (parent) children.set(parent, (children.get(parent) ?? 0) + 1)
    if (pace.spent()) await pace.rest()
  }
  const ordered = snapshots.filter((object) => !children.has(object))
  for (let at = 0; at < ordered.length; at++) {
    const parent = parentOf(ordered[at] as GraphObject)
    if (parent === undefined) continue
    const left = (children.get(parent) ?? 0) - 1
    children.set(parent, left)
    if (left === 0) ordered.push(parent)
    if (pace.spent()) await pace.rest()
  }
  return ordered
}
