import type { CollectorDefinition } from '@flotilla/api/flotilla/gc/v1/gc'
import type { Metadata } from '@flotilla/metadata'
import { hasCode, type ServiceOf, status, toRpcError, unavailable } from '@flotilla/rpc'
import { type CollectorLogger, Cycle } from './cycle.ts'
import type { Nodes } from './disks.ts'
import { Schedule, type ScheduleSettings } from './schedule.ts'

export interface CollectorDeps extends Nodes {
  readonly metadata: Metadata
  readonly settings: ScheduleSettings
  readonly logger: CollectorLogger
}

export type Collector = ServiceOf<typeof CollectorDefinition> & AsyncDisposable

/**
 * The garbage collector of the cluster. It runs by itself as the settings say, and on `collect`. Several processes may
 * each have one: a namespace is collected by one at a time.
 *
 * `collect` answers when a run that began after the call has ended, removal from the nodes' disks included. It fails
 * when any part of that run failed, other than that a node is away; the other parts were carried out all the same, and
 * what failed is tried again.
 */
export function createCollector({ metadata, settings, logger, ...nodes }: CollectorDeps): Collector {
  const stop = new AbortController()
  const cycle = new Cycle(metadata, nodes, logger, stop.signal)
  let away = false

  const schedule = new Schedule({
    settings,
    async run(asked) {
      try {
        const outcome = await cycle.run(asked)
        away = false
        return outcome
      } catch (error) {
        told(error)
        throw toRpcError(error)
      }
    },
    async due(atCheck) {
      try {
        const due = await cycle.isDue(settings, atCheck)
        away = false
        return due
      } catch (error) {
        told(error)
        return false
      }
    },
  })

  /** Says once that the store is away, not at every check until it is back. */
  function told(error: unknown): void {
    const unreachable = hasCode(error, status.UNAVAILABLE)
    if (!stop.signal.aborted && !(unreachable && away)) logger.warn({ err: error }, 'garbage collection failed')
    away = unreachable
  }

  return {
    collect: (_, call) => schedule.next(call.signal),
    async [Symbol.asyncDispose]() {
      const reason = unavailable('the garbage collector is stopping')
      stop.abort(reason)
      await schedule.stop(reason)
    },
  }
}
