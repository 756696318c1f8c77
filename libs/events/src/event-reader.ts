import { setTimeout as sleep } from 'node:timers/promises'
import { type Matcher, parseFilters } from '@flotilla/filters'
import type { Metadata } from '@flotilla/metadata'
import { type Call, RpcError, toRpcError } from '@flotilla/rpc'
import { asking, logState } from './event-log.ts'
import { positionsKey } from './keys.ts'
import type { LogEntry } from './log-entry.ts'
import { findStart, outboxEnds, type StartRequest } from './start.ts'
import { beginning, compareIds } from './stream-id.ts'
import type { Tail } from './tail.ts'

export interface EventReaderDeps {
  readonly metadata: Metadata
  readonly tail: Tail
  /** Namespaces whose outboxes this process knows. */
  readonly namespaces: () => Iterable<string>
}

export interface EventSelection {
  readonly start: StartRequest
  readonly filters: readonly string[]
  /** Only events of this node. */
  readonly node: string | undefined
  /** Whether to go on with new events. */
  readonly follow: boolean
}

/** Opens a reader of the log. What is wrong with the selection is told when the first event is asked for. */
export type OpenEvents = <T>(
  select: () => EventSelection,
  call: Call,
  /** Makes of each event what is given. */
  give: (entry: LogEntry) => T,
) => AsyncIterable<T>

export function createEventReader({ metadata, tail, namespaces }: EventReaderDeps): OpenEvents {
  /** The newest event of all that is acknowledged now, once the relays have moved it. */
  async function end(signal: AbortSignal): Promise<number> {
    const [outboxes] = await outboxEnds(metadata, await metadata.namespaceNames())
    for (;;) {
      signal.throwIfAborted()
      const moved = await asking(metadata.redis.hgetall(positionsKey))
      if ([...outboxes].every(([name, id]) => compareIds(moved[name] ?? beginning, id) >= 0)) break
      await sleep(2)
    }
    return (await logState(metadata.redis)).last
  }

  return (select, call, give) => {
    // Begun now rather than when the first event is asked for: who subscribes and then acts sees what they did.
    const opening = open(select, call)
    opening.catch(() => {})
    return entriesOf(opening, call.signal, give)
  }

  async function open(select: () => EventSelection, call: Call) {
    const { start, filters, node, follow } = select()
    const matcher = matcherOf(filters)
    const found = findStart(start, metadata, namespaces())
    const [{ from, skips }, last] = await Promise.all([found, follow ? Number.POSITIVE_INFINITY : end(call.signal)])
    const wanted = (entry: LogEntry) =>
      !skips(entry) &&
      (node === undefined || entry.node === node) &&
      (matcher.matchesAll || matcher.matches(entry.fields))
    return { from, last, wanted }
  }

  async function* entriesOf<T>(
    opening: ReturnType<typeof open>,
    signal: AbortSignal,
    give: (entry: LogEntry) => T,
  ): AsyncGenerator<T> {
    const { from, last, wanted } = await opening
    if (from > last) return
    for await (const entries of tail.read(from, signal)) {
      for (const entry of entries) {
        if (entry.sequence > last) return
        if (wanted(entry)) yield give(entry)
        if (entry.sequence === last) return
      }
    }
  }
}

function matcherOf(filters: readonly string[]): Matcher {
  try {
    return parseFilters(filters)
  } catch (error) {
    const { code, message } = toRpcError(error)
    throw new RpcError(code, `subscription error: failed parsing subscription filters: ${message}`, { cause: error })
  }
}
