import { type Case, clock, type Reading } from '../case.ts'
import { callersOf } from '../load/callers.ts'
import type { MessageName } from '../load/messages.ts'
import type { Side } from '../sides.ts'

const calls: readonly MessageName[] = ['container get', 'container create', 'image create']
const name = (message: MessageName) => `growth: ${message} among 10,000 ÷ among few`

/** What a call costs among many records, as a multiple of what it costs among few. */
export const growth: Case = {
  name: 'growth',
  storage: 'tmpfs',
  figures: calls.map((message) => ({ name: name(message), unit: '×', target: 1 })),
  async measure(side, { scale }) {
    const probes = scale(300, 10)
    const many = scale(10_000, 100)
    // Warm, so that the second costs do not look better for that.
    for (const message of ['container create', 'image create'] as const) await cost(side, message, 2_000_000, probes)
    for (let time = 0; time < 3; time++) await cost(side, 'container get', 2_000_000, probes)
    const few = await costs(side, 0, probes)
    for (const message of ['container create', 'image create'] as const)
      await (await callersOf(side, message, { callers: 16, calls: many, first: 100_000 })).go()
    const full = await costs(side, 1_000, probes)
    return Object.fromEntries(
      calls.map((message): [string, Reading] => [
        name(message),
        { value: (full.get(message) ?? Number.NaN) / (few.get(message) ?? Number.NaN) },
      ]),
    )
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
