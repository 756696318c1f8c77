import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '@flotilla/testing'
import { expect } from 'vitest'
import type { RunningCtr } from '../harness/ctr.ts'
import { suite } from '../harness/suite.ts'

interface Printed {
  readonly time: string
  readonly namespace: string
  readonly topic: string
  readonly event: Record<string, unknown>
}

/** `2026-01-02 03:04:05.678 +0000 UTC NAMESPACE TOPIC JSON`, as `ctr events` prints it. */
function eventsOf(running: RunningCtr, namespace: string): Printed[] {
  return running
    .output()
    .stdout.split('\n')
    .flatMap((line) => {
      const match = /^(\S+ \S+ \+0000 UTC) (\S+) (\S+) (\{.*\})$/.exec(line)
      if (match === null || match[2] !== namespace) return []
      const [, time = '', name = '', topic = '', json = '{}'] = match
      return [{ time, namespace: name, topic, event: JSON.parse(json) as Record<string, unknown> }]
    })
}

suite(
  'events',
  ({ test }) => {
    test('a pull, a run and a removal, in order', async ({ ctr, start, pull, namespace, run }) => {
      const listening = start(['events'])
      try {
        // The subscription is open once an event of ours comes; there is no other sign.
        while (eventsOf(listening, `${namespace}.probe`).length === 0) {
          await run(['namespaces', 'create', `${namespace}.probe`])
          await run(['namespaces', 'rm', `${namespace}.probe`])
          await sleep(20)
        }
        const reference = await pull()
        await ctr('run', '--rm', reference, 'one', 'true')
        await ctr('images', 'rm', '--sync', reference)
        const topics = () => eventsOf(listening, namespace).map(({ topic }) => topic)
        await until('the last event', () => topics().includes('/images/delete'))
        // 1.6 announces the namespace too; content and snapshots come in any order.
        expect(topics().filter((topic) => !/^\/(snapshot|content|namespaces)\//.test(topic))).toEqual([
          '/images/create',
          // Unpacking writes labels on the config and the name.
          ...topics().filter((topic) => topic === '/images/update'),
          '/containers/create',
          '/tasks/create',
          '/tasks/start',
          '/tasks/exit',
          '/tasks/delete',
          '/containers/delete',
          '/images/delete',
        ])
        const seen = eventsOf(listening, namespace)
        const one = (topic: string) => seen.find((event) => event.topic === topic)?.event
        expect(one('/containers/create')).toMatchObject({ id: 'one', image: reference })
        expect(one('/tasks/create')).toMatchObject({ container_id: 'one', pid: expect.any(Number) })
        expect(one('/tasks/exit')).toMatchObject({ container_id: 'one', id: 'one' })
        expect(one('/tasks/exit')?.pid).toBe(one('/tasks/create')?.pid)
        expect(topics().filter((topic) => topic === '/snapshot/commit')).toHaveLength(2)
        const times = seen.map((event) => event.time)
        expect(times.every((time) => /^\d{4}-\d\d-\d\d /.test(time))).toBe(true)
      } finally {
        listening.child.kill('SIGKILL')
        await listening.result
      }
    })

    test('filters choose by topic and namespace', async ({ ctr, start, pull, namespace, run }) => {
      const reference = await pull()
      const listening = start(['events', `topic~="^/tasks/",namespace==${namespace}`])
      const all = start(['events'])
      try {
        while (eventsOf(all, `${namespace}.probe`).length === 0) {
          await run(['namespaces', 'create', `${namespace}.probe`])
          await run(['namespaces', 'rm', `${namespace}.probe`])
          await sleep(20)
        }
        await ctr('run', '--rm', reference, 'one', 'true')
        await until('the task to have gone', () =>
          eventsOf(listening, namespace).some(({ topic }) => topic === '/tasks/delete'),
        )
        expect(eventsOf(listening, namespace).map(({ topic }) => topic)).toEqual([
          '/tasks/create',
          '/tasks/start',
          '/tasks/exit',
          '/tasks/delete',
        ])
      } finally {
        for (const running of [listening, all]) {
          running.child.kill('SIGKILL')
          await running.result
        }
      }
    })
  },
  { shared: true },
)
