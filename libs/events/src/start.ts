import { keyOf, type Metadata, mapRedisError, namespaceIndexKey, tables } from '@flotilla/metadata'
import { type Call, invalidArgument, outOfRange } from '@flotilla/rpc'
import { beyondRetention, logState, sequenceAt } from './event-log.ts'
import { stateKey } from './keys.ts'
import type { LogEntry } from './log-entry.ts'
import { beginning, compareIds } from './stream-id.ts'

/** Where a reader begins: at a sequence number, of which it leaves out what it did not ask for. */
export interface Start {
  readonly from: number
  readonly skips: (entry: LogEntry) => boolean
}

export type StartRequest =
  | { readonly kind: 'now' }
  | { readonly kind: 'sequence'; readonly sequence: number }
  /** Milliseconds since the epoch. */
  | { readonly kind: 'time'; readonly time: number }

export const fromSequenceHeader = 'flotilla-from-sequence'
export const fromTimeHeader = 'flotilla-from-time'

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/

/** Reads the metadata of a Subscribe call. Throws INVALID_ARGUMENT. */
export function startRequestOf(call: Call): StartRequest {
  const sequence = call.metadata.get(fromSequenceHeader)
  const time = call.metadata.get(fromTimeHeader)
  if (sequence !== undefined && time !== undefined)
    throw invalidArgument(`metadata ${fromSequenceHeader} and ${fromTimeHeader} exclude each other`)
  if (sequence !== undefined) {
    if (!/^\d+$/.test(sequence) || !Number.isSafeInteger(Number(sequence)))
      throw invalidArgument(`metadata ${fromSequenceHeader} ${JSON.stringify(sequence)} must be a sequence number`)
    return { kind: 'sequence', sequence: Number(sequence) }
  }
  if (time !== undefined) {
    const millis = rfc3339.test(time) ? Date.parse(time) : Number.NaN
    if (Number.isNaN(millis))
      throw invalidArgument(`metadata ${fromTimeHeader} ${JSON.stringify(time)} must be a time of RFC 3339`)
    return { kind: 'time', time: millis }
  }
  return { kind: 'now' }
}

/**
 * Finds where to begin. For `now` it takes effect with the questions that this function sends before it first waits:
 * what was acknowledged before is left out, what this process writes from then on is given.
 *
 * @throws OUT_OF_RANGE when the start is no longer kept or not reached yet
 */
export async function findStart(
  request: StartRequest,
  metadata: Metadata,
  namespaces: Iterable<string>,
): Promise<Start> {
  if (request.kind === 'now') {
    const { sequence, includes } = await recordedNow(metadata, namespaces)
    return { from: sequence + 1, skips: includes }
  }
  if (request.kind === 'time') {
    const from = await sequenceAt(metadata.redis, request.time)
    return { from, skips: (entry) => entry.recordedAt < request.time }
  }
  const state = await logState(metadata.redis)
  const from = request.sequence === 0 ? state.first : request.sequence
  if (from < state.first) throw beyondRetention(from, state)
  if (from > state.last + 1) throw outOfRange(`event ${from} is not reached yet, the newest is ${state.last}`)
  return { from, skips: () => false }
}

/** What was acknowledged up to a moment. */
export interface Recorded {
  /** Newest event in the log then. */
  readonly sequence: number
  /** The outbox id of the newest event of each namespace then. */
  readonly outboxes: ReadonlyMap<string, string>
  /** Whether an event, of whatever number, was acknowledged before that moment. */
  readonly includes: (entry: LogEntry) => boolean
}

/**
 * What is acknowledged now, in the log or still in outboxes. One write of commands: so it takes effect before whatever
 * this process writes after it, and the log's end is known before the outboxes' ends, which are never behind it.
 */
export async function recordedNow(metadata: Metadata, known: Iterable<string>): Promise<Recorded> {
  const pipeline = metadata.redis.pipeline().hget(stateKey, 'sequence').time().smembers(namespaceIndexKey)
  const names = [...known]
  for (const name of names) pipeline.xinfo('STREAM', keyOf(name, tables.outbox))
  const answers = await pipeline.exec().catch((error: unknown) => {
    throw mapRedisError(error)
  })
  const [sequence, time, , ...infos] = answers ?? []
  if (sequence === undefined || time === undefined) throw mapRedisError(new Error('no answer'))
  for (const [error] of [sequence, time]) if (error) throw mapRedisError(error)
  const outboxes = new Map<string, string>()
  for (const [index, name] of names.entries()) {
    const [error, info] = infos[index] ?? [undefined, undefined]
    if (error && !/no such key/.test(error.message)) throw mapRedisError(error)
    outboxes.set(name, error ? beginning : lastGeneratedId(info))
  }
  const [seconds, micros] = time[1] as [string, string]
  const now = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000)
  return {
    sequence: Number(sequence[1] ?? 0),
    outboxes,
    includes(entry) {
      const last = outboxes.get(entry.envelope.namespace)
      // Of a namespace that this process had not heard of then, only the time is known.
      return last === undefined ? entry.recordedAt < now : compareIds(entry.outbox, last) <= 0
    },
  }
}

function lastGeneratedId(info: unknown): string {
  const flat = info as readonly unknown[]
  return String(flat[flat.indexOf('last-generated-id') + 1])
}
