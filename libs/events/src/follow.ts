import { setTimeout as sleep } from 'node:timers/promises'
import { type LoggedEvent, type Metadata, mapRedisError } from '@flotilla/metadata'
import { createBlockingReader } from './blocking-reader.ts'
import { readAfter } from './event-log.ts'
import { logKey } from './keys.ts'
import { LogEntry } from './log-entry.ts'

/** Events read at a time. */
const piece = 1_000
/** Milliseconds between two looks at the log where all that comes is told: nothing should be there. */
const look = 1_000
/** Milliseconds to wait for a connection. */
const patience = 5_000

/** Brings what comes to the end of the log. */
export interface Follower extends Disposable {
  /** Resolves when the connection is up; UNAVAILABLE when it is not after a while. */
  ready(): Promise<void>
  /**
   * Gives the events after number `last()`, in order, some perhaps twice, until the connection that was ready breaks or
   * this is disposed: then it rejects.
   */
  follow(last: () => number, take: (entries: readonly LogEntry[]) => void): Promise<never>
  /** Says that there may be events that nobody told. */
  lookAgain(): void
}

/** Is told by the writer where that is this process alone, and waits on the log elsewhere. */
export const createFollower = (metadata: Metadata): Follower => createListener(metadata) ?? createWaiter(metadata)

function createWaiter(metadata: Metadata): Follower {
  const reader = createBlockingReader(metadata)
  return {
    ready: () => reader.ready(),
    async follow(last, take) {
      for (;;) {
        const [stream] = await reader.read(new Map([[logKey, `${last()}-0`]]), piece)
        if (stream !== undefined) take(stream[1].map(LogEntry.stored))
      }
    },
    lookAgain() {},
    [Symbol.dispose]: () => reader[Symbol.dispose](),
  }
}

/**
 * The answer to a change tells its events' numbers, so the log need not be read. It is read at first, when a number is
 * left out, and once in a while, should an earlier process have left something on its way to the store.
 */
function createListener(metadata: Metadata): Follower | undefined {
  const { redis } = metadata
  let heard: (events: readonly LoggedEvent[]) => void = () => {}
  const listening = metadata.onLogged((events) => heard(events))
  if (listening === undefined) return undefined
  /** Connections that broke: what was under way on them was told by nobody. */
  let broken = 0
  let readied = 0
  let stopped = false
  let doubtful = false
  let proceed = () => {}

  const lookAgain = () => {
    doubtful = true
    proceed()
  }
  const onClose = () => {
    broken++
    proceed()
  }
  redis.on('close', onClose)
  const check = () => {
    if (stopped || broken !== readied) throw mapRedisError(new Error('connection lost'))
  }

  return {
    async ready() {
      for (const end = performance.now() + patience; redis.status !== 'ready'; await sleep(5))
        if (stopped || redis.status === 'end' || performance.now() > end)
          throw mapRedisError(new Error('no connection'))
      readied = broken
    },
    async follow(last, take) {
      check()
      heard = (events) => {
        const [first] = events
        if (first === undefined || first.sequence > last() + 1) lookAgain()
        else take(events.map((event) => new LogEntry(event)))
      }
      try {
        for (;;) {
          doubtful = false
          const entries = await readAfter(redis, last(), piece)
          check()
          take(entries)
          if (doubtful || entries.length === piece) continue
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, look)
            proceed = () => {
              clearTimeout(timer)
              resolve()
            }
          })
          check()
        }
      } finally {
        heard = () => {}
      }
    },
    lookAgain,
    [Symbol.dispose]() {
      stopped = true
      listening[Symbol.dispose]()
      redis.off('close', onClose)
      proceed()
    },
  }
}
