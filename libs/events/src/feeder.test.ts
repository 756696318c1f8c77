import { Envelope } from '@flotilla/api/containerd/types/types'
import { makeCall } from '@flotilla/rpc'
import { startNats, until } from '@flotilla/testing'
import { connect, type NatsConnection } from 'nats'
import { describe, expect, it } from 'vitest'
import { eventsWorld, numbered, say, take, textOf, wholeLog } from './fixture.ts'
import { eventSubject } from './subject.ts'

const retention = { age: 3_600_000, count: 100_000 }
const stream = 'FLOTILLA_EVENTS'
const open = (url: string) => connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 50 })

interface Stored {
  readonly text: string
  readonly sequence: number
  readonly subject: string
  readonly header: (name: string) => string
}

/** Everything in the stream, in its order. */
async function stored(nats: NatsConnection): Promise<Stored[]> {
  const manager = await nats.jetstreamManager({ checkAPI: false, timeout: 300 })
  const { state } = await manager.streams.info(stream)
  const all: Stored[] = []
  for (let seq = state.first_seq; state.messages > 0 && seq <= state.last_seq; seq++) {
    const message = await manager.streams.getMessage(stream, { seq })
    const header = (name: string) => message.header.get(name)
    const text = textOf(Envelope.decode(message.data))
    all.push({ text, subject: message.subject, header, sequence: Number(header('Flotilla-Sequence')) })
  }
  return all
}

async function untilStored(nats: NatsConnection, count: number): Promise<Stored[]> {
  const manager = await nats.jetstreamManager({ checkAPI: false, timeout: 300 })
  await until(`${count} messages in JetStream`, async () => {
    const { state } = await manager.streams.info(stream)
    return state.messages >= count
  })
  return await stored(nats)
}

const sequences = (count: number, from = 1) => numbered(count).map((_, i) => i + from)

describe('the feeder', () => {
  it('publishes every event once, in order, with subject and headers', async () => {
    await using server = await startNats()
    const nats = await open(server.url)
    await using world = await eventsWorld({ deps: { nats, retention } })
    await say(world.service, '0', 'k8s.io', '/tasks/exec-added')
    for (const text of numbered(300).slice(1)) await say(world.service, text, 'moby', '/tasks/exit')
    const messages = await untilStored(nats, 300)
    expect(messages.map(({ text }) => text)).toEqual(numbered(300))
    expect(messages.map(({ sequence }) => sequence)).toEqual(sequences(300))
    const [first, second] = messages
    expect([first?.subject, second?.subject]).toEqual([
      'flotilla.events.k8s%2Eio.tasks.exec-added',
      'flotilla.events.moby.tasks.exit',
    ])
    const names = ['Namespace', 'Topic', 'Node', 'Sequence'].map((name) => first?.header(`Flotilla-${name}`))
    expect(names).toEqual(['k8s.io', '/tasks/exec-added', 'n1', '1'])
    expect(first?.header('Nats-Msg-Id')).toBe('1')
    await nats.close()
  })

  it('fills a store that was wiped while it was stopped', { timeout: 30_000 }, async () => {
    await using server = await startNats()
    const nats = await open(server.url)
    await using world = await eventsWorld({ deps: { nats, retention } })
    for (const text of numbered(500)) await say(world.service, text)
    await untilStored(nats, 500)
    await server.kill()
    await server.wipe()
    for (const text of numbered(700).slice(500)) await say(world.service, text)
    await server.restart()
    const messages = await untilStored(nats, 700)
    expect(messages.map(({ text }) => text)).toEqual(numbered(700))
    expect(messages.map(({ sequence }) => sequence)).toEqual(sequences(700))
    await nats.close()
  })

  it('goes on where a store that was killed ends', { timeout: 30_000 }, async () => {
    await using server = await startNats()
    const nats = await open(server.url)
    await using world = await eventsWorld({ deps: { nats, retention } })
    for (let kill = 0; kill < 3; kill++) {
      for (const text of numbered(100)) await say(world.service, String(kill * 100 + Number(text)))
      await server.kill()
      for (const text of numbered(20)) await say(world.service, `${kill} ${text}`)
      await server.restart()
    }
    const messages = await untilStored(nats, 360)
    expect(messages.map(({ sequence }) => sequence)).toEqual(sequences(360))
    expect(messages.map(({ text }) => text)).toEqual(await wholeLog(world.service))
    await nats.close()
  })

  it('never holds up subscribers over gRPC while NATS is away', async () => {
    await using server = await startNats()
    const nats = await open(server.url)
    await using world = await eventsWorld({ deps: { nats, retention } })
    const seen = world.service.subscribe({ filters: [] }, makeCall())
    await server.kill()
    for (const text of numbered(200)) await say(world.service, text)
    expect((await take(200, seen)).map(textOf)).toEqual(numbered(200))
    await nats.close()
  })

  it('may run in several processes, of which another takes over when one goes', { timeout: 30_000 }, async () => {
    await using server = await startNats()
    const connections = await Promise.all([open(server.url), open(server.url), open(server.url)])
    const [first, second, third] = connections
    await using world = await eventsWorld()
    const services = [
      await world.another({ nats: first!, retention }),
      await world.another({ nats: second!, retention }),
      await world.another({ nats: third!, retention }),
    ]
    let count = 0
    for (const service of services) {
      for (let i = 0; i < 200; i++) await say(world.service, String(count++))
      await service[Symbol.asyncDispose]()
      if (service !== services.at(-1)) for (let i = 0; i < 100; i++) await say(world.service, String(count++))
    }
    await world.another({ nats: first!, retention })
    const messages = await untilStored(third!, count)
    expect(messages.map(({ sequence }) => sequence)).toEqual(sequences(count))
    expect(messages.map(({ text }) => text)).toEqual(numbered(count))
    for (const nats of connections) await nats.close()
  })

  it('makes the stream anew when it has events of another log', { timeout: 30_000 }, async () => {
    await using server = await startNats()
    const nats = await open(server.url)
    {
      await using other = await eventsWorld({ deps: { nats, retention } })
      for (const text of numbered(10)) await say(other.service, `other ${text}`)
      await untilStored(nats, 10)
    }
    await using world = await eventsWorld({ deps: { nats, retention } })
    for (const text of numbered(20)) await say(world.service, text)
    await until('the events of this log', async () => (await stored(nats)).at(-1)?.text === '19')
    expect((await stored(nats)).map(({ text }) => text)).toEqual(numbered(20))
    await nats.close()
  })

  it('says so instead of publishing what is larger than NATS takes', async () => {
    await using server = await startNats()
    const nats = await open(server.url)
    await using world = await eventsWorld({ deps: { nats, retention } })
    await say(world.service, 'x'.repeat(2_000_000))
    await say(world.service, 'after')
    const messages = await untilStored(nats, 2)
    expect(messages.map(({ text }) => text)).toEqual(['', 'after'])
    expect(Number(messages[0]?.header('Flotilla-Oversize'))).toBeGreaterThan(2_000_000)
    await nats.close()
  })

  it('leaves out what was beyond retention, and goes on', { timeout: 30_000 }, async () => {
    await using server = await startNats()
    const nats = await open(server.url)
    await using world = await eventsWorld({ deps: { nats, retention: { age: 3_600_000, count: 50 } } })
    for (const text of numbered(10)) await say(world.service, text)
    await untilStored(nats, 10)
    await server.kill()
    for (const text of numbered(300)) await say(world.service, text)
    await until('the log to forget', async () => (await world.service.log.status({}, makeCall())).first === 261)
    await server.restart()
    await until('the newest event in JetStream', async () => (await stored(nats)).at(-1)?.sequence === 310)
    const all = (await stored(nats)).map(({ sequence }) => sequence)
    expect(all).toEqual(sequences(50, 261))
    await nats.close()
  })
})

describe('eventSubject', () => {
  it.each([
    ['default', '/tasks/exit', 'flotilla.events.default.tasks.exit'],
    ['k8s.io', '/a.b/c', 'flotilla.events.k8s%2Eio.a%2Eb.c'],
    ['my_ns-1', '/x', 'flotilla.events.my_ns-1.x'],
  ])('%s %s', (namespace, topic, subject) => expect(eventSubject(namespace, topic)).toBe(subject))
})
