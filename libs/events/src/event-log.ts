import { mapRedisError } from '@flotilla/metadata'
import { outOfRange } from '@flotilla/rpc'
import type { Redis } from 'ioredis'
import { logKey, stateKey } from './keys.ts'
import { LogEntry } from './log-entry.ts'
import { readEntries } from './stream-reply.ts'

/** What the log holds. */
export interface LogState {
  /** Made up with the log; empty before its first event. */
  readonly id: string
  /** Oldest sequence number kept; `last + 1` when none is. */
  readonly first: number
  /** Newest sequence number; 0 before the first event. */
  readonly last: number
  /** When the newest forgotten event was moved into the log, milliseconds since the epoch; 0 when none is forgotten. */
  readonly trimmedAt: number
}

export async function logState(redis: Redis): Promise<LogState> {
  const [id, first, last, trimmedAt] = await asking(redis.hmget(stateKey, 'log', 'first', 'sequence', 'trimmed-at'))
  return { id: id ?? '', first: Number(first ?? 1), last: Number(last ?? 0), trimmedAt: Number(trimmedAt ?? 0) }
}

/**
 * Up to `count` events from a sequence number on, in order and without a gap; none when it is not reached yet.
 *
 * @throws OUT_OF_RANGE when that event is no longer kept
 */
export async function readRange(redis: Redis, from: number, count: number): Promise<LogEntry[]> {
  const reply = await asking(redis.callBuffer('XRANGE', logKey, `${from}-0`, '+', 'COUNT', count))
  const entries = readEntries(reply).map(LogEntry.stored)
  if (entries.length > 0 && entries[0]?.sequence === from) return entries
  const state = await logState(redis)
  if (from < state.first) throw beyondRetention(from, state)
  // Nothing there before, or written between the two questions: the next round finds it.
  return []
}

/** Up to `count` events that there are after a sequence number. */
export async function readAfter(redis: Redis, sequence: number, count: number): Promise<LogEntry[]> {
  const reply = await asking(redis.callBuffer('XRANGE', logKey, `${sequence + 1}-0`, '+', 'COUNT', count))
  return readEntries(reply).map(LogEntry.stored)
}

export const beyondRetention = (sequence: number, state: Pick<LogState, 'first'>) =>
  outOfRange(`event ${sequence} is beyond retention, the oldest kept is ${state.first}`)

/**
 * The sequence number from which on the log has every event recorded at a time (milliseconds since the epoch) or
 * later; `last + 1` when there is none. Events recorded shortly before it may come after that number too.
 *
 * @throws OUT_OF_RANGE when an event of that time may have been forgotten
 */
export async function sequenceAt(redis: Redis, time: number): Promise<number> {
  const state = await logState(redis)
  if (state.trimmedAt >= time)
    throw outOfRange(
      `events of ${new Date(time).toISOString()} are beyond retention, the oldest kept is ${state.first}`,
    )
  // An event is recorded before it is moved, so what was moved before that time was recorded before it.
  return await firstMovedAt(redis, state, time)
}

/** Binary search for the first event that was moved into the log at a time or later. */
export async function firstMovedAt(redis: Redis, state: LogState, time: number): Promise<number> {
  let low = state.first
  let high = state.last + 1
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const reply = await asking(redis.callBuffer('XRANGE', logKey, `${middle}-0`, '+', 'COUNT', 1))
    const [entry] = readEntries(reply).map(LogEntry.stored)
    if (entry === undefined || entry.at >= time) high = middle
    else low = entry.sequence + 1
  }
  return low
}

export async function asking<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    throw mapRedisError(error)
  }
}
