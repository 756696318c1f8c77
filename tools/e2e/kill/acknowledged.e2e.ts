import { setTimeout as sleep } from 'node:timers/promises'
import { ContainerCreate } from '@flotilla/api/containerd/events/events'
import { expect } from 'vitest'
import { callIn, connectTo } from '../harness/clients.ts'
import { suite } from '../harness/suite.ts'
import { eventsSoFar } from './events.ts'
import { kinds } from './kinds.ts'
import { Caller } from './load.ts'
import { crash, places } from './places.ts'

/** FLOTILLA_KILLS=1000 is what was asked for once; each is a restart, so a test run has fewer. */
const kills = Number(process.env.FLOTILLA_KILLS ?? 8)
const callersOfAKind = 2
/** A kill comes at a random moment within these milliseconds of work. */
const longestWork = 400

suite(
  'killed under load',
  ({ test }) => {
    test(
      `${kills} kills at random moments: nothing acknowledged is missing, changed, or back; no event missing or twice`,
      async ({ system, namespace }) => {
        using clients = connectTo(system.address)
        const callers = kinds.flatMap((kind) =>
          Array.from({ length: callersOfAKind }, (_, n) => new Caller(kind, clients, namespace, `${kind.name}${n}`)),
        )
        for (let kill = 0; kill < kills; kill++) {
          const stop = new AbortController()
          const work = Promise.all(callers.map((caller) => caller.work(stop.signal))).catch((cause: unknown) => {
            throw new Error(`at kill ${kill}`, { cause })
          })
          // Whoever waits for the crash should not miss this.
          work.catch(() => {})
          await sleep(Math.random() * longestWork)
          const place = places[Math.floor(Math.random() * places.length)] ?? 'all'
          await crash(system, place)
          stop.abort()
          await work
          const wrong = await Promise.all(callers.map((caller) => caller.check()))
          expect(wrong.flat(), `after kill ${kill}, of ${place}`).toEqual([])
          if (kill % 50 === 49) console.log(`${kill + 1} kills, ${sum(callers, 'acknowledged')} changes acknowledged`)
        }
        expect(sum(callers, 'acknowledged')).toBeGreaterThan(0)
        console.log(
          `${kills} kills: ${sum(callers, 'acknowledged')} changes acknowledged, ${sum(callers, 'cut')} cut off`,
        )

        const announced = (await eventsSoFar(clients, namespace)).flatMap(({ topic, event }) =>
          topic === '/containers/create' && event ? [ContainerCreate.decode(event.value).id] : [],
        )
        const made = callers.filter(({ kind }) => kind.name === 'containers').flatMap((caller) => caller.made)
        expect(announced.length).toBe(new Set(announced).size)
        expect(made.filter((id) => !new Set(announced).has(id))).toEqual([])

        for (const kind of kinds)
          for (const id of (await kind.list(clients, callIn(namespace))).keys())
            await kind.remove(clients, id, callIn(namespace))
      },
      60_000 + kills * 30_000,
    )
  },
  { versions: ['1.6'] },
)

function sum(callers: readonly Caller[], what: 'acknowledged' | 'cut'): number {
  return callers.reduce((total, caller) => total + caller[what], 0)
}
