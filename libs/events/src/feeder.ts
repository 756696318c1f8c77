import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '@flotilla/log'
import type { Metadata } from '@flotilla/metadata'
import { hasCode, status } from '@flotilla/rpc'
import type { NatsConnection } from 'nats'
import { logState, readRange } from './event-log.ts'
import { createEventStream, FeedConflict, type StreamEnd } from './jetstream.ts'
import type { Retention } from './retention.ts'
import type { Tail } from './tail.ts'

export interface FeederDeps {
  readonly metadata: Metadata
  readonly nats: NatsConnection
  /** Servers of a NATS cluster that keep the stream. */
  readonly replicas: number
  readonly tail: Tail
  readonly retention: Retention
  readonly logger: Logger
}

/** Milliseconds after which the stream's end is looked at again though nothing failed: it may have been wiped. */
const lookAgain = 15_000
/** Milliseconds after which a feeder that others were faster than looks whether they still are. */
const standbyLook = 1_000

/** Milliseconds between two appends. */
const gathering = 10

/** Copies the log to JetStream, in order, each event once. Any number may run; all but one stand by. */
export function createFeeder({ metadata, nats, replicas, tail, retention, logger }: FeederDeps): AsyncDisposable {
  const stream = createEventStream(nats, retention, replicas)
  const stop = new AbortController()
  let session = new AbortController()
  let connected = !nats.isClosed()
  let failing = false
  const statuses = nats.status() as AsyncIterable<{ type: string }> & { stop?(): void }

  async function watch() {
    for await (const { type } of statuses) {
      if (type === 'disconnect') connected = false
      if (type === 'reconnect') connected = true
      // What was under way is not waited for. Whoever it is that we are connected to next may have less than what we
      // were told is stored.
      if (type === 'disconnect' || type === 'reconnect') session.abort()
    }
  }

  /** The event to go on with. What the stream has must be what the log has; else it is made anew. */
  async function begin(): Promise<{ from: number; end: StreamEnd; logId: string }> {
    // In this order: the log then has at least what another feeder has published by now.
    let end = await stream.end()
    const state = await logState(metadata.redis)
    if (end.last !== undefined && !(await agrees(end.last, state))) {
      logger.warn(
        { stream: end.last.sequence, log: state.last },
        'JetStream has events that the log does not have; filling it again',
      )
      await stream.remove()
      end = await stream.end()
    }
    const next = (end.last?.sequence ?? 0) + 1
    if (next < state.first && end.last !== undefined)
      logger.warn({ from: next, to: state.first - 1 }, 'events were beyond retention before JetStream could have them')
    return { from: Math.max(next, state.first), end, logId: state.id }
  }

  async function agrees(last: NonNullable<StreamEnd['last']>, state: { id: string; first: number; last: number }) {
    if (last.logId !== state.id || last.sequence > state.last) return false
    if (last.sequence < state.first) return true
    const [entry] = await readRange(metadata.redis, last.sequence, 1)
    return entry !== undefined && (last.bytes.length === 0 || entry.bytes.equals(last.bytes))
  }

  async function feed(session: AbortSignal) {
    const { from, end, logId } = await begin()
    if (failing) logger.info({ from }, 'feeding JetStream again')
    failing = false
    let after = end.streamSequence
    let previous: number | undefined
    const signal = AbortSignal.any([stop.signal, session, AbortSignal.timeout(lookAgain)])
    for await (const events of tail.read(from, signal)) {
      // The first event of a log gives it its id: look again, now that it has one.
      if (logId === '') return
      const { repeated } = await stream.append(events, after, logId, previous)
      if (repeated) throw new FeedConflict()
      after += events.length
      previous = events.at(-1)?.sequence
      // Events that follow within a moment go together: each append costs as much as several events.
      await sleep(gathering, undefined, { signal })
    }
  }

  /** Lets another feeder work for as long as it keeps up. */
  async function standBy() {
    for (let goal = tail.last; !stop.signal.aborted; goal = tail.last) {
      await sleep(standbyLook * (1 + Math.random()), undefined, { signal: stop.signal })
      const { last } = await stream.end()
      if ((last?.sequence ?? 0) < goal) return
    }
  }

  async function run() {
    while (!stop.signal.aborted) {
      try {
        session = new AbortController()
        if (connected) await untilAborted(feed(session.signal), AbortSignal.any([stop.signal, session.signal]))
        else await sleep(50, undefined, { signal: stop.signal })
      } catch (error) {
        if (stop.signal.aborted) return
        if (error instanceof FeedConflict) await standBy().catch(() => {})
        else if (!(error instanceof Error) || (error.name !== 'TimeoutError' && error.name !== 'AbortError')) {
          // Beyond retention and a replaced log are told when the stream's end has been looked at again.
          const expected = hasCode(error, status.OUT_OF_RANGE) || hasCode(error, status.DATA_LOSS)
          if (!failing && !expected) logger.warn({ err: error }, 'feeding JetStream interrupted')
          failing ||= !expected
          await sleep(200, undefined, { signal: stop.signal }).catch(() => {})
        }
      }
    }
  }

  const watching = watch().catch(() => {})
  const running = run()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      statuses.stop?.()
      await Promise.all([running, statuses.stop ? watching : undefined])
      stream[Symbol.dispose]()
    },
  }
}

/** What a promise gives, or the signal's reason if that comes first. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
