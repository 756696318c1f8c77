import { type Case, clock, type Figure, type Reading } from '../case.ts'
import { callersOf } from '../load/callers.ts'
import type { MessageName } from '../load/messages.ts'
import { messages } from '../load/messages.ts'
import { pacedCaller } from '../load/paced.ts'
import { subscribersTo } from '../load/subscribers.ts'
import { unaryConnection } from '../load/unary-connection.ts'
import { namespace, type Side } from '../sides.ts'

const calls: readonly MessageName[] = ['container get', 'container create', 'image create']
const amounts = [1_000, 10_000]
const rates = [100, 1_000]
const counted = (count: number) => count.toLocaleString('en')
const among = (message: MessageName, amount: number) => `growth: ${message} among ${counted(amount)} ÷ among few`
const beside = (rate: number) => `growth: container get at ${counted(rate)} events a second ÷ at 1`

const figures = [
  ...calls.flatMap((message) => amounts.map((amount) => among(message, amount))),
  ...rates.map(beside),
].map((name): Figure => ({ name, unit: '×', target: 1 }))

/** What a call costs among many records or beside many events, as a multiple of what it costs among few. */
export const growth: Case = {
  name: 'growth',
  storage: 'tmpfs',
  figures,
  async measure(side, { scale }) {
    const readings: Record<string, Reading> = {}
    const probes = scale(300, 10)
    // Warm, so that the second costs do not look better for that.
    for (const message of ['container create', 'image create'] as const) await cost(side, message, 2_000_000, probes)
    for (let time = 0; time < 3; time++) await cost(side, 'container get', 2_000_000, probes)
    const few = await costs(side, 0, probes)
    let there = 0
    for (const amount of amounts) {
      for (const message of ['container create', 'image create'] as const) {
        const more = scale(amount - there, 50)
        await (await callersOf(side, message, { callers: 16, calls: more, first: 100_000 + there })).go()
      }
      there = amount
      const full = await costs(side, amount, probes)
      for (const message of calls)
        readings[among(message, amount)] = {
          value: (full.get(message) ?? Number.NaN) / (few.get(message) ?? Number.NaN),
        }
    }
    const quiet = await costBeside(side, 1, probes)
    for (const rate of rates) readings[beside(rate)] = { value: (await costBeside(side, rate, probes)) / quiet }
    return readings
  },
}

/** Milliseconds of each kind of call, by one caller; the creates before the gets of what they made. */
async function costs(side: Side, first: number, count: number): Promise<Map<MessageName, number>> {
  const found = new Map<MessageName, number>()
  for (const message of [...calls].reverse()) found.set(message, await cost(side, message, first, count))
  return found
}

async function cost(side: Side, message: MessageName, first: number, count: number): Promise<number> {
  const ready = await callersOf(side, message, { callers: 1, calls: count, first })
  return (await clock(side, () => ready.go(), count)).value
}

/** Milliseconds of a get while events are published at a rate, and one subscriber takes them. */
async function costBeside(side: Side, rate: number, count: number): Promise<number> {
  const { of, path } = messages['probe publish']
  using prober = await unaryConnection(side.address, path, namespace)
  const probe = () => prober.call(of()).then(() => new Promise((resolve) => setTimeout(resolve, 5)))
  using _subscribers = await subscribersTo(side, { streams: 1, events: Number.MAX_SAFE_INTEGER }, probe)
  await using _publisher = await pacedCaller(side, 'event publish', rate)
  return await cost(side, 'container get', 0, count)
}
