import { fork } from 'node:child_process'
import { once } from 'node:events'
import { tempWorld } from '@flotilla/testing'
import { callersOf, named } from '../load/callers.ts'
import type { MessageName } from '../load/messages.ts'
import { cpuOf } from '../machine.ts'
import { median } from '../statistics.ts'
import type { Effort, Floor } from './floor.ts'
import { durableRedis } from './redis.ts'

interface Kind {
  readonly message: MessageName
  readonly callers: number
  readonly calls: number
  /** Bytes of an answer: what ours has. */
  readonly bytes: number
  /** Whether the request is on disk, in a Redis, when it is answered. */
  readonly stored: boolean
}

const kinds: readonly Kind[] = [
  { message: 'container get', callers: 1, calls: 10_000, bytes: 4_400, stored: false },
  { message: 'container get', callers: 16, calls: 10_000, bytes: 4_400, stored: false },
  { message: 'container create', callers: 1, calls: 1_000, bytes: 4_400, stored: true },
  { message: 'container create', callers: 16, calls: 9_000, bytes: 4_400, stored: true },
  { message: 'lease create', callers: 1, calls: 1_000, bytes: 100, stored: true },
  { message: 'lease create', callers: 16, calls: 9_000, bytes: 100, stored: true },
  { message: 'event publish', callers: 1, calls: 1_000, bytes: 0, stored: true },
  { message: 'event publish', callers: 16, calls: 10_000, bytes: 0, stored: true },
]

/** Calls of the cases of metadata and events, by the same callers, at the server of answerer.ts. */
export async function* callFloors({ repeats, share }: Effort): AsyncGenerator<Floor> {
  await using world = await tempWorld({ name: 'bench-floor' })
  await using redis = await durableRedis(world)
  const { socket } = redis
  for (const { message, callers, calls, bytes, stored } of kinds) {
    const address = world.join(`${message}-${callers}.sock`)
    const args = ['--socket', address, '--bytes', String(bytes), ...(stored ? ['--redis', socket] : [])]
    const server = fork(new URL('./answerer.ts', import.meta.url), args)
    const ended = once(server, 'exit')
    try {
      await Promise.race([once(server, 'message'), ended.then(() => Promise.reject(new Error('the server has ended')))])
      const pids = [server.pid, ...(stored ? [redis.pid] : [])].filter((pid) => pid !== undefined)
      const used = () => pids.reduce((sum, pid) => sum + cpuOf(pid), 0)
      const [clocks, processors]: [number[], number[]] = [[], []]
      const made = Math.max(callers, Math.round(calls * share))
      // The first round is for warming up.
      for (let round = 0; round <= repeats; round++) {
        const ready = await callersOf({ address }, message, { callers, calls: made })
        const before = used()
        const from = performance.now()
        await ready.go()
        if (round === 0) continue
        clocks.push(((performance.now() - from) * 1_000) / made)
        processors.push(((used() - before) * 1_000) / made)
      }
      yield { name: named(message, callers), unit: 'µs', clock: median(clocks), processor: median(processors) }
    } finally {
      server.kill()
      await ended
    }
  }
}
