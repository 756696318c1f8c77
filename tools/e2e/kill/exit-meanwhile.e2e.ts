import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import { until } from '@flotilla/testing'
import { describe, expect } from 'vitest'
import { callIn, connectTo } from '../harness/clients.ts'
import { rowsOf } from '../harness/output.ts'
import { suite } from '../harness/suite.ts'
import { eventsSoFar, exitsIn } from './events.ts'
import { holdable, patience, takeAway } from './places.ts'
import { tickerStatus, tickToFile } from './ticker.ts'

const stopped = 3
const milliseconds = (time: Timestamp | undefined) => Number(time?.seconds) * 1_000 + Number(time?.nanos) / 1e6

suite(
  'an exit while something is away',
  ({ test }) => {
    describe.each([...holdable])('%s', (place) => {
      test(
        `without ${place}: real status and time, one event, one removal`,
        async (fixture) => {
          const { ctr, run, pull, system, namespace } = fixture
          using clients = connectTo(system.address)
          const ticker = await tickToFile(fixture, await pull(), 'one')
          await ticker.goesOn()

          const back = await takeAway(system, place)
          const from = Date.now()
          process.kill(ticker.pid, 'SIGTERM')
          // Its shim reaps it, with or without us.
          await until('the process to end', () => !existsSync(`/proc/${ticker.pid}`))
          // So that the time of the exit, which the shim notes a moment after, and that of its discovery cannot be taken
          // for each other.
          await sleep(1_000)
          const to = Date.now()
          await back()

          const tasks = clients.of(TasksDefinition)
          const { process: found } = await until('the end to be known', async () => {
            const answer = await tasks.get({ containerId: 'one', execId: '' }, callIn(namespace))
            return answer.process?.status === stopped && answer
          })
          expect(found).toMatchObject({ id: 'one', pid: ticker.pid, exitStatus: tickerStatus })
          expect(milliseconds(found?.exitedAt)).toBeGreaterThanOrEqual(from - 1)
          expect(milliseconds(found?.exitedAt)).toBeLessThan(to)
          expect(await tasks.wait({ containerId: 'one', execId: '' }, callIn(namespace))).toEqual({
            exitStatus: tickerStatus,
            exitedAt: found?.exitedAt,
          })
          expect(rowsOf(await ctr('tasks', 'ls'))).toEqual([['one', String(ticker.pid), 'STOPPED']])
          await ticker.wholeOutput()
          const { stderr } = await run(['tasks', 'rm', 'one'])
          expect(stderr).toContain(`non-zero exit code ${tickerStatus}`)

          const exits = await until('the event', async () => {
            const all = exitsIn(await eventsSoFar(clients, namespace))
            return all.length > 0 && all
          })
          const exit = { containerId: 'one', id: 'one', pid: ticker.pid, exitStatus: tickerStatus }
          expect(exits).toEqual([{ ...exit, exitedAt: found?.exitedAt }])
          // Another start must not tell it again.
          await (await takeAway(system, place))()
          const topics = (await eventsSoFar(clients, namespace)).map(({ topic }) => topic)
          expect(topics.filter((topic) => topic.startsWith('/tasks/'))).toEqual([
            '/tasks/create',
            '/tasks/start',
            '/tasks/exit',
            '/tasks/delete',
          ])
        },
        patience,
      )
    })
  },
  { versions: ['1.6'] },
)
