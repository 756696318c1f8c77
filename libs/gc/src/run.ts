import { randomUUID } from 'node:crypto'
import { type Check, keyOf, type Metadata, mapRedisError, type Plan, tables, together } from '@flotilla/metadata'
import { aborted } from '@flotilla/rpc'
import { drain, takeChanged, watchTable } from './scripts.ts'

/** Milliseconds after which a run whose process is gone counts as ended. It is renewed three times as often. */
const expiry = 15_000

/** What was noted is taken so many entries at a time. */
const pieceSize = 500

const idField = 'id'
/** Field of the table of the memory: what the memory must be marked with. */
const markField = 'mark'
/** Fields of the counters' table: how far they had come when the last successful run began. */
const collected = { mutations: 'collected-mutations', deletions: 'collected-deletions' } as const

/** Writes in a namespace, ever, and those that the last collection had seen. They only grow. */
export interface Counters {
  readonly mutations: number
  readonly deletions: number
  readonly collectedMutations: number
  readonly collectedDeletions: number
}

/** Reads the counters of many namespaces in one go. */
export async function readCounters(metadata: Metadata, namespaces: readonly string[]): Promise<Counters[]> {
  const fields = ['mutations', 'deletions', collected.mutations, collected.deletions]
  const answers = await ofEach(metadata, namespaces, 'hmget', tables.gcCounters, fields)
  return answers.map((values) => {
    const [mutations, deletions, collectedMutations, collectedDeletions] = (values as Array<string | null>).map(Number)
    return {
      mutations: mutations ?? 0,
      deletions: deletions ?? 0,
      collectedMutations: collectedMutations ?? 0,
      collectedDeletions: collectedDeletions ?? 0,
    }
  })
}

/** How many records of each of many namespaces changed since a collector remembers them, as far as that is noted. */
export async function countChanged(metadata: Metadata, namespaces: readonly string[]): Promise<number[]> {
  return (await ofEach(metadata, namespaces, 'scard', tables.gcChanged)).map(Number)
}

/** The answers to a command about the same table of many namespaces. */
async function ofEach(
  metadata: Metadata,
  namespaces: readonly string[],
  command: string,
  table: string,
  args: readonly string[] = [],
): Promise<unknown[]> {
  const answers = await together(
    metadata.redis,
    namespaces.map((namespace) => [command, keyOf(namespace, table), ...args] as const),
  )
  return answers.map(([error, answer]) => {
    if (error) throw mapRedisError(error)
    return answer
  })
}

/** The run is no more ours: it expired, and perhaps another process collects already. */
export class RunLost extends Error {
  constructor(namespace: string) {
    super(`the collection of namespace "${namespace}" was held up for so long that it lost its turn`)
    this.name = 'RunLost'
  }
}

/** What came of a removal: done, refused since something was written meanwhile, or refused by one of its own checks. */
export type Removal = 'done' | 'dirty' | { readonly check: number }

/** What a run that succeeded leaves. */
export interface Success {
  /** The count of mutations that stands for the state collected. */
  readonly mutations: number
  /**
   * What the graph is to be known by in the next run; undefined when it is of no use there. It is made only now: a store
   * that has it, be it a copy that took over, has all that the graph was read from.
   */
  readonly mark: string | undefined
}

/**
 * One collection of one namespace. While it exists, every change anywhere notes what it touched in the dirty list, and
 * no other process collects the same namespace.
 */
export class Run implements AsyncDisposable {
  readonly id: string
  readonly metadata: Metadata
  readonly namespace: string
  readonly #before: Counters
  readonly #renewal: NodeJS.Timeout
  /** Own changes, which count as mutations too. */
  #changes = 1
  #over = false

  private constructor(metadata: Metadata, namespace: string, id: string, before: Counters) {
    this.metadata = metadata
    this.namespace = namespace
    this.id = id
    this.#before = before
    this.#renewal = setInterval(() => {
      // Should renewing fail, the run expires, and the next change that it tries is refused.
      this.#change({ writes: [{ op: 'expire', table: tables.gcRun, ms: expiry }] }).catch(() => {})
    }, expiry / 3)
  }

  /** Begins a run; undefined while another process has one. */
  static async begin(metadata: Metadata, namespace: string): Promise<Run | undefined> {
    const id = randomUUID()
    // Read first: what is written between this and the beginning counts twice rather than not at all.
    const [before] = await readCounters(metadata, [namespace])
    const outcome = await metadata.transact(namespace, {
      checks: [{ is: 'absent', table: tables.gcRun, field: idField }],
      writes: [
        { op: 'set', table: tables.gcRun, field: idField, value: id },
        { op: 'expire', table: tables.gcRun, ms: expiry },
        { op: 'drop', table: tables.gcDirty },
        { op: 'drop', table: watchTable },
      ],
      createsNamespace: false,
    })
    return outcome.ok && before ? new Run(metadata, namespace, id, before) : undefined
  }

  async #change(plan: Plan) {
    const mine: Check = { is: 'equals', table: tables.gcRun, field: idField, value: this.id }
    const outcome = await this.metadata.transact(this.namespace, {
      ...plan,
      checks: [mine, ...(plan.checks ?? [])],
      createsNamespace: false,
      known: true,
    })
    if (outcome.ok) this.#changes++
    return outcome
  }

  /**
   * Carries out a plan if the run is still ours and the dirty list is empty in the same step. It is sent to Redis
   * before this returns.
   *
   * @throws RunLost
   */
  async remove(plan: Plan): Promise<Removal> {
    const clean: Check = { is: 'empty', table: tables.gcDirty }
    const outcome = await this.#change({ ...plan, checks: [clean, ...(plan.checks ?? [])] })
    if (outcome.ok) return 'done'
    if (outcome.check === 0) throw new RunLost(this.namespace)
    return outcome.check === 1 ? 'dirty' : { check: outcome.check - 2 }
  }

  /**
   * The resources noted since they were last asked for, in pieces, until none are left.
   *
   * @throws RunLost
   */
  async *dirty(): AsyncGenerator<readonly string[]> {
    for (;;) {
      const taken = await drain(this.metadata, this.namespace, this.id, pieceSize)
      if (taken === undefined) throw new RunLost(this.namespace)
      if (taken.length > 0) yield taken
      if (taken.length < pieceSize) return
    }
  }

  /**
   * Some of the records (`TABLE\0FIELD`) that changed since a memory was marked so; none when none are left, undefined when
   * something else came between and the memory is of no use any more. What changes from now on may be among them or be
   * left for the next run; the dirty list has it in any case.
   */
  takeChanged(mark: string): Promise<string[] | undefined> {
    return takeChanged(this.metadata, this.namespace, mark, pieceSize)
  }

  /**
   * Has each change from now on noted for the next run, before this one reads anything.
   *
   * @returns the mark of what this run reads
   * @throws RunLost
   */
  async remember(): Promise<string> {
    const outcome = await this.#change({
      writes: [
        { op: 'set', table: tables.gcMemory, field: markField, value: this.id },
        { op: 'drop', table: tables.gcChanged },
      ],
    })
    if (!outcome.ok) throw new RunLost(this.namespace)
    return this.id
  }

  /**
   * Ends the run as successful: the writes from before it need no other one.
   *
   * @param again whether something may have been kept only because it was written meanwhile: then one more follows
   * @param mark the mark of what this run read
   * @throws ABORTED when the run was lost
   */
  async succeed(again: boolean, mark: string): Promise<Success> {
    const next = randomUUID()
    const remembering: Plan = {
      checks: [{ is: 'equals', table: tables.gcMemory, field: markField, value: mark }],
      writes: [{ op: 'set', table: tables.gcMemory, field: markField, value: next }],
    }
    let mutations = await this.#finish(again, remembering)
    const remembered = mutations !== undefined
    // So much may have changed that it was not noted any more; the run itself is not worse for it.
    if (!remembered) mutations = await this.#finish(again, {})
    this.#end()
    if (mutations === undefined) throw aborted(new RunLost(this.namespace).message)
    return { mutations, mark: remembered ? next : undefined }
  }

  /** The count of mutations that stands for the state collected; undefined when the run is lost or `more` was refused. */
  async #finish(again: boolean, more: Plan): Promise<number | undefined> {
    const mutations = this.#before.mutations + this.#changes + 1
    const outcome = await this.#change({
      checks: more.checks ?? [],
      writes: [
        { op: 'set', table: tables.gcCounters, field: collected.mutations, value: String(mutations) },
        { op: 'set', table: tables.gcCounters, field: collected.deletions, value: String(this.#before.deletions) },
        ...(more.writes ?? []),
        ...this.#leave,
      ],
      deletions: again ? 1 : 0,
    })
    return outcome.ok ? mutations : undefined
  }

  get #leave() {
    return [tables.gcRun, tables.gcDirty, watchTable].map((table) => ({ op: 'drop' as const, table }))
  }

  #end(): void {
    this.#over = true
    clearInterval(this.#renewal)
  }

  /** Ends the run, unless it did already. Should Redis be away it expires. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#over) return
    this.#end()
    await this.#change({ writes: this.#leave }).catch(() => {})
  }
}
