import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { startNats, tempWorld, until } from '@flotilla/testing'
import { connect } from 'nats'
import { describe, expect, it } from 'vitest'
import { eventsWorld, say } from './fixture.ts'

function example(name: string, ...args: string[]) {
  const path = fileURLToPath(new URL(`../examples/${name}.ts`, import.meta.url))
  const child: ChildProcess = spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  createInterface({ input: child.stdout! }).on('line', (line) => lines.push(line))
  return {
    lines,
    async stop() {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      return (await ended)[0] as number | null
    },
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  }
}

describe('the examples of docs/events.md', () => {
  it('watch.ts goes on where it stopped', { timeout: 30_000 }, async () => {
    await using world = await eventsWorld()
    await using dir = await tempWorld()
    const { address, events } = await world.overGrpc()
    const watch = () => example('watch', address, dir.join('state'), 'topic~=|^/tasks/|')
    using first = watch()
    // Until it subscribes, what is published is before its start.
    await until('the first event', () => say(events, '', 'moby', '/tasks/start').then(() => first.lines.length > 0))
    expect(first.lines[0]).toMatch(/^\d+ n1 moby \/tasks\/start test\.Text$/)
    await say(events, '', 'moby', '/images/create')
    await say(events, '', 'moby', '/tasks/oom')
    await until('the event', () => first.lines.some((line) => line.includes('/tasks/oom')))
    expect(await first.stop()).toBe(0)
    await say(events, '', 'moby', '/tasks/exit')
    using second = watch()
    await until('the event from meanwhile', () => second.lines.length > 0)
    expect(second.lines).toEqual([expect.stringMatching(/^\d+ n1 moby \/tasks\/exit test\.Text$/)])
    expect(await second.stop()).toBe(0)
  })

  it('jetstream.ts goes on where it stopped', { timeout: 30_000 }, async () => {
    await using server = await startNats()
    const nats = await connect({ servers: server.url })
    await using world = await eventsWorld({ deps: { nats } })
    const run = () => example('jetstream', server.url, 'demo', 'flotilla.events.default.tasks.>')
    await say(world.service, '', 'default', '/tasks/start')
    await say(world.service, '', 'k8s.io', '/tasks/start')
    const manager = await nats.jetstreamManager({ timeout: 500 })
    await until('the stream', async () => (await manager.streams.info('FLOTILLA_EVENTS')).state.messages === 2)
    using first = run()
    await until('the event', () => first.lines.length > 0)
    expect(first.lines).toEqual(['1 n1 default /tasks/start test.Text'])
    await until('its acknowledgement', async () => {
      const { ack_floor } = await manager.consumers.info('FLOTILLA_EVENTS', 'demo')
      return ack_floor.stream_seq === 1
    })
    expect(await first.stop()).toBe(0)
    await say(world.service, '', 'default', '/tasks/exit')
    using second = run()
    await until('the event from meanwhile', () => second.lines.length > 0)
    expect(second.lines).toEqual(['3 n1 default /tasks/exit test.Text'])
    expect(await second.stop()).toBe(0)
    await nats.close()
  })
})
