import { setTimeout as sleep } from 'node:timers/promises'
import { makeCall, status } from '@flotilla/rpc'
import { until } from '@flotilla/testing'
import { describe, expect, it } from 'vitest'
import { entryText, eventsWorld, numbered, say, take, textOf, wholeLog } from './fixture.ts'

const all = { filters: [] }
const window = { events: 20, bytes: 1_000_000 }

describe('subscribers', () => {
  it('may be slow: who falls out of memory reads from the store, in order, without a gap', async () => {
    await using world = await eventsWorld({ deps: { window } })
    const slow = world.service.subscribe(all, makeCall())[Symbol.asyncIterator]()
    const seen: string[] = []
    const takeSome = async (count: number) => {
      for (let i = 0; i < count; i++) seen.push(textOf((await slow.next()).value))
    }
    const wanted = numbered(700)
    for (const text of wanted.slice(0, 10)) await say(world.service, text)
    await takeSome(3)
    for (const text of wanted.slice(10, 690)) await say(world.service, text)
    await takeSome(687)
    for (const text of wanted.slice(690)) await say(world.service, text)
    await takeSome(10)
    expect(seen).toEqual(wanted)
  })

  it('are told when they are so slow that events are beyond retention', async () => {
    await using world = await eventsWorld({ deps: { window, retention: { age: 3_600_000, count: 30 } } })
    const slow = world.service.subscribe(all, makeCall())[Symbol.asyncIterator]()
    await say(world.service, 'first')
    expect(textOf((await slow.next()).value)).toBe('first')
    for (const text of numbered(300)) await say(world.service, text)
    await until('the log to forget', async () => (await world.service.log.status({}, makeCall())).first > 270)
    await expect(slow.next()).rejects.toMatchObject({
      code: status.OUT_OF_RANGE,
      message: expect.stringMatching(/^event 2 is beyond retention, the oldest kept is \d+: out of range$/),
    })
  })

  it('do not wait for each other over gRPC: one that reads nothing holds up nobody', { timeout: 30_000 }, async () => {
    await using world = await eventsWorld({ deps: { window } })
    const { events, address } = await world.overGrpc()
    const { connect, clientOf } = await import('@flotilla/rpc')
    const { EventsDefinition } = await import('@flotilla/api/containerd/services/events/v1/events')
    const channel = connect(address)
    const idle = clientOf(EventsDefinition, channel).subscribe(all, makeCall())[Symbol.asyncIterator]()
    const first = idle.next()
    const payload = 'x'.repeat(20_000)
    const quick = take(400, world.service.subscribe(all, makeCall()))
    for (let i = 0; i < 400; i++) await say(events, `${i} ${payload}`)
    expect((await quick).map((envelope) => textOf(envelope).split(' ')[0])).toEqual(numbered(400))
    const late = [textOf((await first).value)]
    while (late.length < 400) late.push(textOf((await idle.next()).value))
    expect(late.map((text) => text.split(' ')[0])).toEqual(numbered(400))
    channel.close()
  })

  it('may be a hundred', { timeout: 30_000 }, async () => {
    await using world = await eventsWorld()
    const { events } = await world.overGrpc()
    const started = numbered(100).map((_, i) => {
      const filters = i % 2 === 0 ? [] : ['topic=="/even"']
      return take(i % 2 === 0 ? 200 : 100, events.subscribe({ filters }, makeCall()))
    })
    // Over one connection calls arrive in the order in which they were made.
    for (let i = 0; i < 200; i++) await say(events, String(i), 'default', i % 2 === 0 ? '/even' : '/odd')
    for (const [i, seen] of (await Promise.all(started)).entries())
      expect(seen.map(textOf)).toEqual(i % 2 === 0 ? numbered(200) : numbered(200).filter((_, n) => n % 2 === 0))
  })

  it('end UNAVAILABLE when the service stops', async () => {
    await using world = await eventsWorld()
    const other = await world.another()
    const next = other.subscribe(all, makeCall())[Symbol.asyncIterator]().next()
    const ended = expect(next).rejects.toMatchObject({ code: status.UNAVAILABLE })
    await sleep(20)
    await other[Symbol.asyncDispose]()
    await ended
  })

  it('are told when the store lost events that they were given', { timeout: 30_000 }, async () => {
    await using world = await eventsWorld()
    const reading = world.service.log.read({ sequence: 0, filters: [], node: '', follow: true }, makeCall())
    const iterator = reading[Symbol.asyncIterator]()
    for (const text of numbered(5)) await say(world.service, text)
    for (const text of numbered(5)) expect(entryText((await iterator.next()).value)).toBe(text)
    const next = iterator.next()
    // It may fail while the store still restarts, before anyone waits for it.
    next.catch(() => {})
    // A store that was restored to nothing.
    await world.metadata.redis.call('FLUSHALL')
    await world.redis.restart()
    await expect(next).rejects.toMatchObject({ code: status.DATA_LOSS })
    await until('publishing to work again', () => say(world.service, 'new').then(() => true))
    await until('the new log', async () => (await wholeLog(world.service)).join() === 'new')
  })
})
