import type { CollectorDefinition, CollectResponse } from '@flotilla/api/flotilla/gc/v1/gc'
import type { Metadata } from '@flotilla/metadata'
import { canceled, hasCode, makeCall, type ServiceOf, status } from '@flotilla/rpc'
import { type Collected, collectNamespace } from './collect-namespace.ts'
import { directoriesOf, emptyTrash, type Nodes, removeOrphans } from './physical.ts'
import { readCounters } from './run.ts'
import { createSchedule, type ScheduleSettings } from './schedule.ts'
import { nothingRemoved } from './sweep.ts'

export interface CollectorLogger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export interface CollectorDeps extends Nodes {
  readonly metadata: Metadata
  readonly settings: ScheduleSettings
  readonly logger: CollectorLogger
}

export type Collector = ServiceOf<typeof CollectorDefinition> & AsyncDisposable

/** Milliseconds between two complete looks at the nodes' disks, for what a crash left; the first is at the start. */
const completeEvery = 3_600_000
/** Milliseconds between two tries while another process collects the same namespace. */
const turnPoll = 50

/**
 * The garbage collector of the cluster. Several may run: a namespace is collected by one at a time.
 *
 * `collect` answers when a run that began after the call has ended; it fails when any part of that run failed, of
 * which the rest was carried out all the same.
 */
export function createCollector(deps: CollectorDeps): Collector {
  const { metadata, logger, settings } = deps
  const stop = new AbortController()
  const { signal } = stop
  // When each namespace may have garbage again although nobody wrote: leases and images expire.
  const expiries = new Map<string, number>()
  let completeAt = 0

  async function collectOne(namespace: string): Promise<Collected> {
    for (;;) {
      const collected = await collectNamespace(metadata, namespace, signal)
      if (collected !== undefined) return collected
      await new Promise((resolve) => setTimeout(resolve, turnPoll))
      signal.throwIfAborted()
    }
  }

  /** One run over all namespaces. */
  async function run(): Promise<CollectResponse> {
    const complete = Date.now() >= completeAt
    const failures: unknown[] = []
    const note = (what: string, error: unknown) => {
      failures.push(error)
      if (!signal.aborted) logger.warn({ err: error }, `garbage collection: ${what}`)
    }
    // Listed before any record is read: a directory without a record at any time after this has none coming.
    const listed = complete
      ? await directoriesOf(deps, signal).catch((error) => note('listing directories', error))
      : undefined
    const named = new Map<string, Set<string>>()
    const total = { ...nothingRemoved() }
    for (const namespace of await metadata.namespaceNames()) {
      try {
        const collected = await collectOne(namespace)
        for (const kind of ['images', 'content', 'snapshots', 'ingests', 'leases'] as const)
          total[kind] += collected.removed[kind]
        for (const [store, ids] of collected.driverIds) named.set(store, new Set([...(named.get(store) ?? []), ...ids]))
        if (collected.odd.length > 0)
          logger.warn({ namespace, snapshots: collected.odd }, 'kept: their children are miscounted')
        expiries.set(namespace, collected.nextExpiry)
      } catch (error) {
        note(`namespace "${namespace}"`, error)
      }
      for (const result of await emptyTrash(metadata, deps, namespace, signal)) {
        if (result.status === 'rejected') note(`disk of namespace "${namespace}"`, result.reason)
      }
    }
    if (complete && failures.length === 0 && listed) {
      const orphans = await removeOrphans(deps, listed, named, signal)
      for (const node of await deps.nodes()) await deps.content(node).sweep({ digests: [] }, makeCall({ signal }))
      completeAt = Date.now() + completeEvery
      logger.debug({ orphans }, 'complete look at the disks')
    }
    if (failures.length > 0) throw failures[0]
    return total
  }

  /** Whether enough was written since the last run, or something has expired. */
  async function due(): Promise<boolean> {
    const namespaces = await metadata.namespaceNames()
    const counters = await readCounters(metadata, namespaces)
    return counters.some((counter, index) => {
      const deletions = counter.deletions - counter.collectedDeletions
      const expiry = expiries.get(namespaces[index] ?? '') ?? Number.POSITIVE_INFINITY
      return (
        deletions > settings.deletionThreshold ||
        counter.mutations - counter.collectedMutations >= settings.mutationThreshold ||
        Date.now() >= expiry
      )
    })
  }

  const schedule = createSchedule({
    settings,
    run,
    due: () =>
      due().catch((error) => {
        // The store is away: there is nothing to collect in until it is back.
        if (!hasCode(error, status.UNAVAILABLE))
          logger.warn({ err: error }, 'garbage collection: cannot read the counters')
        return false
      }),
  })

  return {
    collect: (_, call) => schedule.next(call.signal),
    async [Symbol.asyncDispose]() {
      stop.abort(canceled('the collector is stopping'))
      await schedule.stop(signal.reason)
    },
  }
}
