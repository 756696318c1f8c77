import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '@flotilla/log'
import type { Metadata } from '@flotilla/metadata'
import { dataLoss, hasCode, status, unavailable } from '@flotilla/rpc'
import { logState, readRange } from './event-log.ts'
import { createFollower } from './follow.ts'
import type { LogEntry } from './log-entry.ts'
import { createWindow, type WindowLimits } from './window.ts'

/** Events given to a reader at a time. */
const batch = 256

/** The end of the log as this process sees it, shared by all its readers. */
export interface Tail extends AsyncDisposable {
  /** Newest sequence number seen. */
  readonly last: number
  /** Says that events came to the log that did not go there straight. */
  lookAgain(): void
  /**
   * Every event from a sequence number on, in order, without a gap, for ever. A reader takes what it can at its own
   * pace: the newest events from memory, older ones from the store. It waits while the store is away.
   *
   * @throws OUT_OF_RANGE when the next event is no longer kept; DATA_LOSS when the store lost events that were given out
   */
  read(from: number, signal: AbortSignal): AsyncGenerator<readonly LogEntry[]>
}

export interface TailOptions {
  readonly metadata: Metadata
  readonly logger: Logger
  readonly window?: WindowLimits
}

export function createTail({ metadata, logger, window: limits }: TailOptions): Tail {
  const follower = createFollower(metadata)
  const window = createWindow(limits)
  const waiters = new Set<() => void>()
  const stop = new AbortController()
  /** Counts the logs that this tail has followed. */
  let generation = 0
  let logId = ''
  let newest: LogEntry | undefined
  let started = false

  const wake = () => {
    for (const waiter of waiters) waiter()
    waiters.clear()
  }

  /** After a start or an interruption: whether the log is still the one that was read so far. */
  async function resume() {
    const known = window.last
    const state = await logState(metadata.redis)
    if (!started) {
      window.restart(state.last + 1)
      started = true
      wake()
    } else if (state.last < known || (logId !== '' && state.id !== logId) || !(await stillThere(newest))) {
      logger.error({ had: known, has: state.last }, 'the event log lost events that were given out')
      generation++
      newest = undefined
      window.restart(state.last + 1)
      wake()
    }
    logId = state.id
  }

  async function stillThere(entry: LogEntry | undefined): Promise<boolean> {
    if (entry === undefined) return true
    try {
      const [stored] = await readRange(metadata.redis, entry.sequence, 1)
      return stored !== undefined && stored.outbox === entry.outbox && stored.bytes.equals(entry.bytes)
    } catch (error) {
      if (hasCode(error, status.OUT_OF_RANGE)) return true
      throw error
    }
  }

  function take(entries: readonly LogEntry[]) {
    for (const entry of entries) {
      if (entry.sequence <= window.last) continue
      // A gap means that we were away longer than retention: readers who need what is missing find out in the store.
      if (entry.sequence !== window.last + 1) window.restart(entry.sequence)
      window.push(entry)
      newest = entry
    }
    wake()
  }

  async function run() {
    while (!stop.signal.aborted) {
      try {
        await follower.ready()
        await resume()
        await follower.follow(() => window.last, take)
      } catch {
        // The relay logs interruptions of the store.
        if (!stop.signal.aborted) await sleep(20)
      }
    }
  }

  function arrival(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        waiters.delete(done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      waiters.add(done)
      signal.addEventListener('abort', done, { once: true })
    })
  }

  async function stored(from: number): Promise<readonly LogEntry[]> {
    try {
      return await readRange(metadata.redis, from, batch)
    } catch (error) {
      if (!hasCode(error, status.UNAVAILABLE)) throw error
      await sleep(50)
      return []
    }
  }

  const running = run()
  return {
    get last() {
      return window.last
    },
    lookAgain: () => follower.lookAgain(),
    async *read(from, signal) {
      let next = from
      const mine = generation
      for (;;) {
        signal.throwIfAborted()
        if (stop.signal.aborted) throw unavailable('the events service is stopping')
        if (mine !== generation) throw dataLoss('the event log was restored to an earlier state, subscribe again')
        const entries = started && next >= window.first ? window.slice(next, batch) : await stored(next)
        if (entries.length > 0) {
          yield entries
          next += entries.length
          // A reader that is never full and whose filter rejects everything must not keep others from their turn.
          await setImmediate()
        } else if (next > window.last) {
          await arrival(signal)
        }
      }
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      follower[Symbol.dispose]()
      wake()
      await running
    },
  }
}
