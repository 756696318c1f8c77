import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '@flotilla/testing'
import { describe, expect } from 'vitest'
import { connectTo } from '../harness/clients.ts'
import { rowsOf } from '../harness/output.ts'
import { printing } from '../harness/printing.ts'
import { suite } from '../harness/suite.ts'
import { crash, knownTasks, patience, places } from './places.ts'
import { type Ticker, tickerStatus, tickToFifo, tickToFile } from './ticker.ts'

suite(
  'killed while containers run',
  ({ test }) => {
    describe.each([...places])('%s', (place) => {
      test(
        `${place} killed: containers go on, are found with their pids, print all, and can be used`,
        async (fixture) => {
          const { ctr, run, pull, system, namespace } = fixture
          using clients = connectTo(system.address)
          const image = await pull()
          const tickers = [await tickToFile(fixture, image, 'file'), await tickToFifo(fixture, clients, image, 'fifo')]
          const running = ({ id, pid }: Ticker) => [id, String(pid), 'RUNNING']
          for (const ticker of tickers) await ticker.goesOn()

          await crash(system, place)

          expect((await knownTasks(ctr)).sort()).toEqual(tickers.map(running).sort())
          for (const ticker of tickers) {
            await ticker.goesOn()
            expect(await ctr('tasks', 'exec', '--exec-id', 'x', ticker.id, ...printing('inside'))).toBe('inside\n')
            await ctr('tasks', 'kill', '--signal', 'SIGTERM', ticker.id)
            await until(`${ticker.id} to stop`, async () =>
              rowsOf(await ctr('tasks', 'ls')).some(([id, , state]) => id === ticker.id && state === 'STOPPED'),
            )
            const { stderr } = await run(['tasks', 'rm', ticker.id])
            expect(stderr).toContain(`non-zero exit code ${tickerStatus}`)
            await ctr('containers', 'rm', ticker.id)
            await ticker.wholeOutput()
          }
          const bundles = join(system.state, 'io.containerd.runtime.v2.task', namespace)
          expect(existsSync(bundles) ? readdirSync(bundles) : []).toEqual([])
        },
        patience,
      )
    })
  },
  { versions: ['1.6'] },
)
