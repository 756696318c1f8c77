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
    const publish = async (streams: number, callers: number, count: number) => {
      using subscribers = await subscribersTo(side, { streams, events: count }, probe)
      const ready = await callersOf(side, 'event publish', { callers, calls: count })
      const reading = await clock(side, () => Promise.all([ready.go(), subscribers.done]), count / 1000)
      return { reading, latencies: await subscribers.done }
    }
    const [few, many] = [scale(500, 20), scale(10_000, 100)]
    // The first pay for what is compiled while they run.
    await publish(1, 16, scale(4_000, 20))
    for (const count of counts) {
      const { p50, p99 } = (await publish(count, 1, few)).latencies
      readings[name(middle, count)] = { value: p50 }
      readings[name(slowest, count)] = { value: p99 }
      readings[name(each, count)] = (await publish(count, 16, many)).reading
    }
    return readings
  },
}
