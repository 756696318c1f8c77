import { type Case, clock, type Reading } from '../case.ts'
import { callersOf, named } from '../load/callers.ts'
import type { MessageName } from '../load/messages.ts'
import { unaryConnection } from '../load/unary-connection.ts'
import { namespace } from '../sides.ts'

const creates: readonly MessageName[] = ['container create', 'image create', 'lease create']
const list = 'list of 10,000 containers'

/**
 * Records: every write is on disk when it is acknowledged, on both sides. A daemon that has served some thousand calls is
 * measured, as daemons are: the first pay for what a compiler does while they run.
 */
export const metadata: Case = {
  name: 'metadata',
  storage: 'disk',
  figures: [
    ...creates.flatMap((message) => [
      { name: named(message, 1), unit: 'µs', target: 0.9 } as const,
      { name: named(message, 16), unit: 'µs', target: 0.35 } as const,
    ]),
    { name: named('container get', 1), unit: 'µs', target: 1.2 },
    { name: named('container get', 16), unit: 'µs', target: 1.2 },
    { name: list, unit: 'ms', target: 1.2 },
  ],
  async measure(side, { scale }) {
    const readings: Record<string, Reading> = {}
    async function timed(message: MessageName, callers: number, calls: number, first = 0) {
      const ready = await callersOf(side, message, { callers, calls, first })
      readings[named(message, callers)] = await clock(side, () => ready.go(), calls / 1000)
    }
    const [few, many] = [scale(1_000, 20), scale(9_000, 180)]
    for (const message of creates) {
      // In a namespace of their own, so that they are not among those that are listed.
      await (await callersOf(side, message, { callers: 16, calls: scale(4_000, 10), within: 'warm' })).go()
      await timed(message, 1, few)
      await timed(message, 16, many, few)
    }
    await (await callersOf(side, 'container get', { callers: 16, calls: few + many })).go()
    await (await callersOf(side, 'container get', { callers: 1, calls: few })).go()
    await timed('container get', 1, few + many)
    await timed('container get', 16, few + many)
    using connection = await unaryConnection(
      side.address,
      '/containerd.services.containers.v1.Containers/ListStream',
      namespace,
    )
    const times = scale(3, 1)
    await connection.call(Buffer.alloc(0))
    readings[list] = await clock(
      side,
      async () => {
        for (let time = 0; time < times; time++) await connection.call(Buffer.alloc(0))
      },
      times,
    )
    return readings
  },
}
