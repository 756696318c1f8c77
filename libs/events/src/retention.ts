import { readFileSync } from 'node:fs'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import type { Metadata } from '@flotilla/metadata'
import { asking, firstMovedAt, logState, readRange } from './event-log.ts'
import { logKey, stateKey } from './keys.ts'

/** How long events can be replayed; whichever bound is met first. */
export interface Retention {
  /** Milliseconds since the event was moved into the log. Default 24 hours. */
  readonly age: number
  /** How many events are kept. Default 1,000,000. */
  readonly count: number
}

export const defaultRetention: Retention = { age: 24 * 3_600_000, count: 1_000_000 }

/** Events that one script call forgets, so that it does not hold up the store. */
const step = 5_000

interface Scripted {
  flotillaTrimEvents(log: string, state: string, first: string): Promise<number>
}

/** Forgets what is beyond retention, for as long as it is not disposed. */
export function keepRetention(metadata: Metadata, retention: Retention): AsyncDisposable {
  const { redis } = metadata
  redis.defineCommand('flotillaTrimEvents', {
    numberOfKeys: 2,
    lua: readFileSync(new URL('./lua/trim.lua', import.meta.url), 'utf8'),
  })
  const scripted = redis as unknown as Scripted
  const stop = new AbortController()
  const every = Math.min(1_000, Math.max(50, retention.age / 10))

  async function forget() {
    const state = await logState(redis)
    if (state.last < state.first) return
    const [seconds] = await asking(redis.time())
    const oldest = Number(seconds) * 1_000 - retention.age
    // Most rounds find nothing to do and look at one event only.
    const [first] = await readRange(redis, state.first, 1)
    const byAge = first === undefined || first.at >= oldest ? 0 : await firstMovedAt(redis, state, oldest)
    const keep = Math.max(byAge, state.last - retention.count + 1)
    for (let at = state.first; at < keep && !stop.signal.aborted; ) {
      at = Math.min(at + step, keep)
      await asking(scripted.flotillaTrimEvents(logKey, stateKey, String(at)))
      await setImmediate()
    }
  }

  async function run() {
    while (!stop.signal.aborted) {
      await sleep(every, undefined, { signal: stop.signal }).catch(() => {})
      // A store that is away forgets nothing; the next round makes up for it.
      if (!stop.signal.aborted) await forget().catch(() => {})
    }
  }
  const running = run()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}
