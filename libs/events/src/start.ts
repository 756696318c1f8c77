import { isCluster, keyOf, type Metadata, mapRedisError, tables, together } from '@flotilla/metadata'
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

/** Events of the log that are looked at once more where its end and those of outboxes cannot be asked for in order. */
const margin = 10_000

/**
 * What is acknowledged now, in the log or still in outboxes. One write of commands: so it takes effect before whatever
 * this process writes after it, and the log's end is known before the outboxes' ends, which are never behind it. The
 * servers of a Redis Cluster answer in no order: there the log is read from some way before its end.
 */
async function recordedNow(metadata: Metadata, namespaces: Iterable<string>) {
  const begun = Date.now()
  const [outboxes, [state, time]] = await outboxEnds(metadata, namespaces, [
    ['hmget', stateKey, 'sequence', 'first'],
    ['eval', "return redis.call('TIME')", 1, stateKey],
  ])
  const [last, first] = (state as ReadonlyArray<string | null>).map(Number)
  const [seconds, micros] = time as [string, string]
  const now = Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000)
  const end = last ?? 0
  const ordered = !isCluster(metadata.redis)
  // The server that told the time may have done so after another recorded what this process wrote meanwhile.
  const since = ordered ? now : Math.min(now, begun)
  return {
    sequence: ordered ? end : Math.max((first ?? 1) - 1, end - margin, 0),
    includes(entry: LogEntry): boolean {
      const position = outboxes.get(entry.envelope.namespace)
      // Of a namespace that this process had not heard of then, only the time is known.
      return position === undefined ? entry.recordedAt < since : compareIds(entry.outbox, position) <= 0
    },
  }
}

type Commands = Parameters<typeof together>[1]

/** The id of the newest event of each outbox, asked after some commands, whose answers come along. */
export async function outboxEnds(
  metadata: Metadata,
  namespaces: Iterable<string>,
  before: Commands = [],
): Promise<readonly [ReadonlyMap<string, string>, readonly unknown[]]> {
  const names = [...namespaces]
  const questions = names.map((name) => ['xinfo', 'STREAM', keyOf(name, tables.outbox)] as const)
  const answers = await together(metadata.redis, [...before, ...questions])
  const ends = new Map<string, string>()
  for (const [index, [error, info]] of answers.entries()) {
    const name = names[index - before.length]
    const isNew = error !== null && /no such key/.test(error.message)
    if (error !== null && !isNew) throw mapRedisError(error)
    if (name !== undefined) ends.set(name, isNew ? beginning : lastGeneratedId(info))
  }
  return [ends, answers.slice(0, before.length).map(([, answer]) => answer)]
}

function lastGeneratedId(info: unknown): string {
  const flat = info as readonly unknown[]
  return String(flat[flat.indexOf('last-generated-id') + 1])
}
