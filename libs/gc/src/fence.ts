import { keyOf, mapRedisError } from '@flotilla/metadata'
import type { Graph } from './graph.ts'
import { type GraphObject, plainTables, reachedFlat, unreached } from './objects.ts'
import type { Pace } from './pace.ts'
import type { Run } from './run.ts'
import { discharge, watchTable } from './scripts.ts'

/** Ids sent to Redis at once. */
const batch = 500
/** Milliseconds that the watch set stays when its run is cut off. */
const expiry = 3_600_000

/**
 * Lets a sweep go on while others write without pause: Redis itself then tells which writes cannot matter to what is to
 * be removed, in the moment before the removal. Without it a removal needs a moment in which nobody has written
 * anything since the last look, and beside busy writers that moment never comes.
 */
export class Fence {
  readonly #run: Run
  readonly #graph: Graph
  readonly #pace: Pace
  /** Watched because they are garbage, and nothing else. */
  #garbage: GraphObject[] = []

  private constructor(run: Run, graph: Graph, pace: Pace) {
    this.#run = run
    this.#graph = graph
    this.#pace = pace
  }

  /** Tells Redis what to watch for: the README says why exactly these. */
  static async raise(run: Run, graph: Graph, pace: Pace): Promise<Fence> {
    const fence = new Fence(run, graph, pace)
    const others = new Set<string>()
    const garbage: GraphObject[] = []
    for (const object of graph.objects()) {
      if (object.reach === reachedFlat) others.add(object.field)
      if (object.reach === unreached) {
        garbage.push(object)
        for (const { id } of object.backRefs) others.add(id)
      }
      if (pace.spent()) await pace.rest()
    }
    await fence.#send('sadd', [...others])
    await fence.#send(
      'sadd',
      garbage.map(({ field }) => field),
    )
    fence.#garbage = garbage.filter(({ field }) => !others.has(field))
    return fence
  }

  /** To be called right before a removal is sent: what cannot matter to it is off the dirty list then. */
  async discharge(): Promise<void> {
    const { metadata, namespace, id } = this.#run
    const types = [
      ...plainTables.map((table) => ({ type: table, table })),
      ...this.#graph.stores.map(({ snapshotter, table }) => ({ type: `snapshots/${snapshotter}`, table })),
    ]
    await discharge(metadata, namespace, id, types, this.#graph.stores.length)
  }

  /** What turned out to be no garbage is watched no more. Another object with the same id may be: then it stays. */
  async lower(): Promise<void> {
    const still = new Set<string>()
    for (const { reach, field } of this.#garbage) if (reach === unreached) still.add(field)
    const saved = this.#garbage.filter(({ reach, field }) => reach !== unreached && !still.has(field))
    if (saved.length === 0) return
    this.#garbage = this.#garbage.filter(({ reach }) => reach === unreached)
    await this.#send(
      'srem',
      saved.map(({ field }) => field),
    )
  }

  async #send(command: 'sadd' | 'srem', ids: readonly string[]): Promise<void> {
    const { metadata, namespace } = this.#run
    const key = keyOf(namespace, watchTable)
    try {
      for (let i = 0; i < ids.length; i += batch) {
        await metadata.redis[command](key, ...ids.slice(i, i + batch))
        this.#pace.fresh()
      }
      await metadata.redis.pexpire(key, expiry)
    } catch (error) {
      throw mapRedisError(error)
    }
  }
}
