import { type Case, clock, type Figure, type Reading } from '../case.ts'
import { callersOf } from '../load/callers.ts'
import { messages } from '../load/messages.ts'
import { subscribersTo } from '../load/subscribers.ts'
import { unaryConnection } from '../load/unary-connection.ts'
import { namespace } from '../sides.ts'

const counts = [1, 10, 100]
const name = (what: string, count: number) =>
  `events to ${count} ${count === 1 ? 'subscriber' : 'subscribers'}: ${what}`
const each = 'each of 10,000, 16 publishers'
const [middle, slowest] = ['latency p50, one publisher', 'latency p99, one publisher']

/** Ours are written to disk and kept; theirs live as long as they are delivered. */
export const events: Case = {
  name: 'events',
  storage: 'tmpfs',
  figures: counts.flatMap((count): Figure[] => [
    { name: name(each, count), unit: 'µs', target: 1 },
    { name: name(middle, count), unit: 'ms', target: 1 },
    { name: name(slowest, count), unit: 'ms', target: 1 },
  ]),
  async measure(side, { scale }) {
    const readings: Record<string, Reading> = {}
    const { path, of } = messages['probe publish']
    using prober = await unaryConnection(side.address, path, namespace)
    const probe = () => prober.call(of()).then(() => new Promise((resolve) => setTimeout(resolve, 5)))
    // The first pay for what is compiled while they run.
    const warm = scale(4_000, 20)
    {
      using subscribers = await subscribersTo(side, { streams: 1, events: warm }, probe)
      await (await callersOf(side, 'event publish', { callers: 16, calls: warm })).go()
      await subscribers.done
    }
    for (const count of counts) {
      const few = scale(500, 20)
      {
        using subscribers = await subscribersTo(side, { streams: count, events: few }, probe)
        await (await callersOf(side, 'event publish', { callers: 1, calls: few })).go()
        const { p50, p99 } = await subscribers.done
        readings[name(middle, count)] = { value: p50 }
        readings[name(slowest, count)] = { value: p99 }
      }
      const many = scale(10_000, 100)
      using subscribers = await subscribersTo(side, { streams: count, events: many }, probe)
      const callers = await callersOf(side, 'event publish', { callers: 16, calls: many })
      readings[name(each, count)] = await clock(side, () => Promise.all([callers.go(), subscribers.done]), many / 1000)
    }
    return readings
  },
}
