import { type Case, clock } from '../case.ts'
import { callersOf } from '../load/callers.ts'
import { messages } from '../load/messages.ts'
import { unaryConnection } from '../load/unary-connection.ts'
import { namespace } from '../sides.ts'

const collect = 'garbage collection of 100,000 objects'
const waits = 'longest wait of another call meanwhile'

/** Containers and images that stay, and a tenth of leases that have run out. */
export const collection: Case = {
  name: 'collection',
  storage: 'tmpfs',
  figures: [
    { name: collect, unit: 'ms', target: 1 },
    { name: waits, unit: 'ms', target: 50, absolute: true },
  ],
  async measure(side, { scale }) {
    const calls = scale(45_000, 90)
    for (const message of ['container create', 'image create'] as const)
      await (await callersOf(side, message, { callers: 16, calls })).go()
    await (await callersOf(side, 'expired lease create', { callers: 16, calls: calls / 4.5 })).go()
    const { path, of } = messages['container get']
    using connection = await unaryConnection(side.address, path, namespace)
    await connection.call(of(1))
    let longest = 0
    let over = false
    const watching = (async () => {
      for (let number = 0; !over; number = (number + 1) % calls) {
        const start = performance.now()
        await connection.call(of(number))
        longest = Math.max(longest, performance.now() - start)
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    })()
    const collected = await clock(side, () => side.ctr('images', 'rm', '--sync', 'registry.local/app-1:1'))
    over = true
    await watching
    const left = Number(await side.shell('$CTR leases ls -q | wc -l'))
    if (left > 0) throw new Error(`${left} leases are left`)
    return { [collect]: collected, [waits]: { value: longest } }
  },
}
