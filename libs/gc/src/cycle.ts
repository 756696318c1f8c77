import { setTimeout as sleep } from 'node:timers/promises'
import type { CollectResponse } from '@flotilla/api/flotilla/gc/v1/gc'
import { type Metadata, tables } from '@flotilla/metadata'
import { nodeAway, RpcError, toRpcError, unknown } from '@flotilla/rpc'
import { type Collected, collectNamespace, type Memory } from './collect-namespace.ts'
import { Disks, type Nodes, type Note } from './disks.ts'
import { type Counters, countChanged, readCounters } from './run.ts'
import type { Outcome, ScheduleSettings } from './schedule.ts'
import { nothingRemoved } from './sweep.ts'

export interface CollectorLogger {
  debug(fields: object, message: string): void
  warn(fields: object, message: string): void
}

/** Milliseconds between two tries of what a node could not do. */
const retryEvery = 30_000
/**
 * Records changed since the last run from which on the next is due: they take it some 0.3 s, and long before it comes to
 * more than a store notes, the graph is up to date again.
 */
const manyChanges = 16_384
/** Milliseconds between two tries while another process collects the same namespace. */
const turnPoll = 50

const kinds = ['images', 'content', 'snapshots', 'ingests', 'leases'] as const

/** The state of a namespace in which there was nothing more to collect. */
interface Settled {
  readonly mutations: number
  /** Milliseconds since the epoch. */
  readonly nextExpiry: number
}

/** Runs over the namespaces and nodes of the cluster. */
export class Cycle {
  readonly #metadata: Metadata
  readonly #logger: CollectorLogger
  readonly #signal: AbortSignal
  readonly #disks: Disks
  readonly #settled = new Map<string, Settled>()
  /** What the last run in each namespace knew. */
  readonly #memories = new Map<string, Memory>()
  /** Namespaces of which something is still to be removed from a disk. */
  readonly #unfinished = new Set<string>()
  /** Namespaces in which the last check found a reason to collect. */
  #due = new Set<string>()
  #retryAt = 0

  constructor(metadata: Metadata, nodes: Nodes, logger: CollectorLogger, signal: AbortSignal) {
    this.#metadata = metadata
    this.#logger = logger
    this.#signal = signal
    this.#disks = new Disks(metadata, nodes, signal)
  }

  /**
   * Collects all namespaces in which there can be something to collect, then removes from the disks what went. One
   * part's failure does not stop the others.
   *
   * @param asked whether someone waits for this: then another process that collects a namespace already is waited for,
   *   since it may have begun too early
   */
  async run(asked: boolean): Promise<Outcome<CollectResponse>> {
    const failures: unknown[] = []
    // A node that is away does its part when it is back. Until then its bytes are of no use to anybody.
    const isAway = (error: unknown) => error instanceof RpcError && error.reason === nodeAway
    const log: Note = (what, error) => {
      if (!this.#signal.aborted)
        this.#logger[isAway(error) ? 'debug' : 'warn']({ err: error }, `garbage collection: ${what}`)
    }
    const note: Note = (what, error) => {
      if (!isAway(error)) failures.push(error)
      log(what, error)
    }
    // Who asks may know that a node is back; by itself it does not try for ever.
    const looking = (asked || Date.now() >= this.#retryAt) && (await this.#disks.isOwing())
    if (looking) this.#retryAt = Date.now() + retryEvery
    // What was left undone long ago fails nobody's call today.
    const listed = looking ? await this.#disks.listDirectories(log) : undefined
    const everything = listed !== undefined && listed.nodes.size > 0

    const names = await this.#metadata.namespaceNames()
    const counters = await readCounters(this.#metadata, names)
    // By itself it collects where there is a reason to: garbage of one namespace is none of another's.
    const due = asked || this.#due.size === 0 ? undefined : this.#due
    this.#due = new Set()
    const wanted = names.filter(
      (name, index) => everything || ((due?.has(name) ?? true) && !this.#isSettled(name, counters[index])),
    )
    const named = new Map<string, Set<string>>()
    const answer = nothingRemoved()
    let length = 0
    const collect = async (namespace: string, wait: boolean): Promise<boolean> => {
      try {
        const began = performance.now()
        // To tell which directories have a record, all records have to be read.
        if (everything) this.#memories.delete(namespace)
        const collected = await this.#collectOne(namespace, wait)
        if (collected === undefined) return false
        length += performance.now() - began
        for (const kind of kinds) answer[kind] += collected.removed[kind]
        for (const [store, ids] of collected.driverIds) named.set(store, (named.get(store) ?? new Set()).union(ids))
      } catch (error) {
        this.#signal.throwIfAborted()
        note(`namespace "${namespace}"`, error)
      }
      return true
    }
    const busy: string[] = []
    for (const namespace of wanted) if (!(await collect(namespace, false))) busy.push(namespace)
    if (asked || everything) for (const namespace of busy) await collect(namespace, true)

    for (const namespace of new Set([...wanted, ...this.#unfinished])) {
      if (await this.#disks.emptyTrash(namespace, note)) this.#unfinished.delete(namespace)
      else this.#unfinished.add(namespace)
    }
    if (answer.ingests > 0 || (await this.#someDeleted(wanted))) await this.#disks.sweepIngests(note)
    if (this.#unfinished.size > 0) this.#retryAt = Date.now() + retryEvery
    if (looking) {
      // With a namespace unread nobody knows which directories have a record.
      if (listed && failures.length === 0) await this.#disks.removeOrphans(listed, named, log)
      await this.#disks.sweepCompletely(log)
    }
    this.#signal.throwIfAborted()
    return { length, answer, failure: failures.length > 0 ? failureOf(failures) : undefined }
  }

  /** Whether enough was written since the last run, or something left undone is to be tried again. */
  async isDue(settings: ScheduleSettings, atCheck: boolean): Promise<boolean> {
    const crowded = settings.mutationThreshold > 0 ? await this.#crowded() : []
    const written = atCheck || settings.deletionThreshold > 0 ? await this.#written(settings, atCheck) : []
    this.#due = new Set([...crowded, ...written])
    if (this.#due.size > 0) return true
    if (!atCheck || Date.now() < this.#retryAt) return false
    return this.#unfinished.size > 0 || (await this.#disks.isOwing())
  }

  /** Namespaces to which enough was written, or in which something expired. */
  async #written(settings: ScheduleSettings, atCheck: boolean): Promise<string[]> {
    const names = await this.#metadata.namespaceNames()
    const counters = await readCounters(this.#metadata, names)
    return names.filter((name, index) => {
      const counter = counters[index]
      if (counter === undefined) return false
      const deletions = counter.deletions - counter.collectedDeletions
      if (!atCheck) return deletions >= settings.deletionThreshold
      const mutations = counter.mutations - counter.collectedMutations
      const expiry = this.#settled.get(name)?.nextExpiry
      return (
        deletions > 0 ||
        (settings.mutationThreshold > 0 && mutations >= settings.mutationThreshold) ||
        // Where conditions make everything depend on the time, nobody knows when; that waits for another reason.
        (expiry !== undefined && Number.isFinite(expiry) && Date.now() > expiry)
      )
    })
  }

  /** Namespaces whose graph is remembered, but soon not worth much any more. */
  async #crowded(): Promise<string[]> {
    const names = [...this.#memories.keys()]
    const changed = await countChanged(this.#metadata, names)
    return names.filter((_, index) => (changed[index] ?? 0) >= manyChanges)
  }

  /** Whether one of these namespaces was itself deleted: its ingests went with it. */
  async #someDeleted(namespaces: readonly string[]): Promise<boolean> {
    for (const namespace of namespaces)
      if ((await this.#metadata.get(namespace, tables.namespace, 'record')) === undefined) return true
    return false
  }

  #isSettled(namespace: string, counters: Counters | undefined): boolean {
    const settled = this.#settled.get(namespace)
    return (
      settled !== undefined &&
      settled.mutations === counters?.mutations &&
      counters.deletions === counters.collectedDeletions &&
      Date.now() <= settled.nextExpiry
    )
  }

  /** Undefined when another process collects the namespace and that is not to be waited for. */
  async #collectOne(namespace: string, wait: boolean): Promise<Collected | undefined> {
    for (;;) {
      const known = this.#memories.get(namespace)
      // It serves one run. Should that fail, what the graph then knows may be more than the store has.
      this.#memories.delete(namespace)
      const collected = await collectNamespace(this.#metadata, namespace, this.#signal, { memory: known })
      if (collected !== undefined) {
        const { mutations, nextExpiry, odd, removed, fenced, memory } = collected
        this.#settled.set(namespace, { mutations, nextExpiry })
        if (memory) this.#memories.set(namespace, memory)
        if (odd.length > 0)
          this.#logger.warn({ namespace, snapshots: odd }, 'garbage collection: kept, their children are miscounted')
        if (kinds.some((kind) => removed[kind] > 0))
          this.#logger.debug({ namespace, ...removed, fenced }, 'garbage collected')
        return collected
      }
      if (!wait) return undefined
      await sleep(turnPoll, undefined, { signal: this.#signal })
    }
  }
}

function failureOf(failures: readonly unknown[]): Error {
  const [first] = failures
  const more = failures.length > 1 ? ` (and ${failures.length - 1} more)` : ''
  return unknown(`garbage collection: ${toRpcError(first).message}${more}`, { cause: first })
}
