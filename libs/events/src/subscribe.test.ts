import { setTimeout as sleep } from 'node:timers/promises'
import { TaskCreate, TaskExit } from '@flotilla/api/containerd/events/events'
import { ImageCreate } from '@flotilla/api/containerd/services/images/v1/images'
import { eventOf } from '@flotilla/metadata'
import { makeCall, status } from '@flotilla/rpc'
import { until } from '@flotilla/testing'
import { describe, expect, it } from 'vitest'
import { entryText, eventsWorld, numbered, say, take, textOf, wholeLog } from './fixture.ts'

const subscribe = (filters: string[] = []) => ({ filters })
const read = (request: object) => ({ filters: [], node: '', follow: false, ...request })

describe('Subscribe', () => {
  it('gives what is published after it, of all namespaces, in order, and nothing from before', async () => {
    await using world = await eventsWorld()
    for (const text of numbered(20, 'before-')) await say(world.service, text, 'a')
    const seen = world.service.subscribe(subscribe(), makeCall())
    for (const text of numbered(20)) await say(world.service, text, Number(text) % 2 === 0 ? 'a' : 'b')
    expect((await take(20, seen)).map(textOf)).toEqual(numbered(20))
  })

  it('never repeats or misses around its start, while others publish', async () => {
    await using world = await eventsWorld()
    let stop = false
    const publishing = (async () => {
      for (let i = 0; !stop; i++) await say(world.service, `noise-${i}`, 'noise')
    })()
    for (let i = 0; i < 50; i++) {
      await say(world.service, `before-${i}`, 'mine')
      const seen = world.service.subscribe(subscribe(['namespace==mine']), makeCall())
      await say(world.service, `after-${i}`, 'mine')
      expect((await take(1, seen)).map(textOf)).toEqual([`after-${i}`])
    }
    stop = true
    await publishing
  })

  it('is in effect over gRPC for what the same client does next', async () => {
    await using world = await eventsWorld()
    const { events } = await world.overGrpc()
    for (let i = 0; i < 20; i++) {
      const controller = new AbortController()
      const seen = events.subscribe(subscribe(), makeCall({ signal: controller.signal }))[Symbol.asyncIterator]()
      const first = seen.next()
      await say(events, `${i}`)
      expect(textOf((await first).value)).toBe(`${i}`)
      controller.abort()
      await expect(seen.next()).rejects.toMatchObject({ code: status.CANCELLED })
    }
  })

  it("knows Docker's filter, fields of payloads, and any of several filters", async () => {
    await using world = await eventsWorld()
    const { service, metadata } = world
    const stream = (filters: string[]) => service.subscribe(subscribe(filters), makeCall())
    const docker = stream(['namespace==moby,topic~=|^/tasks/|'])
    const fields = stream(['topic=="/tasks/create",event.io.terminal==true', 'event.name==img'])
    const exits = stream(['topic=="/tasks/exit"', 'event.id==x2'])
    const [type, image] = ['containerd.events.TaskCreate', 'containerd.services.images.v1.ImageCreate']
    const io = { stdin: '', stdout: '', stderr: '', terminal: true }
    const tasks = [
      eventOf('/tasks/create', type, TaskCreate, TaskCreate.fromPartial({ containerId: 'c1', io })),
      eventOf('/tasks/create', type, TaskCreate, TaskCreate.fromPartial({ containerId: 'c2' })),
      eventOf('/images/create', image, ImageCreate, ImageCreate.fromPartial({ name: 'img' })),
      eventOf(
        '/tasks/exit',
        'containerd.events.TaskExit',
        TaskExit,
        TaskExit.fromPartial({ containerId: 'c1', id: 'x1' }),
      ),
    ]
    await metadata.transact('default', { events: tasks })
    await metadata.transact('moby', { events: tasks })
    const topics = async (count: number, from: ReturnType<typeof stream>) =>
      (await take(count, from)).map(({ namespace, topic }) => `${namespace} ${topic}`)
    expect(await topics(3, docker)).toEqual(['moby /tasks/create', 'moby /tasks/create', 'moby /tasks/exit'])
    expect(await topics(4, fields)).toEqual([
      'default /tasks/create',
      'default /images/create',
      'moby /tasks/create',
      'moby /images/create',
    ])
    expect(await topics(2, exits)).toEqual(['default /tasks/exit', 'moby /tasks/exit'])
  })

  it('says what is wrong with a filter', async () => {
    await using world = await eventsWorld()
    await expect(take(1, world.service.subscribe(subscribe(['topic~=/^/tasks/']), makeCall()))).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: expect.stringMatching(
        /^subscription error: failed parsing subscription filters: filters: parse error: .*: invalid argument$/,
      ),
    })
  })

  it('gives only events of one node when asked to', async () => {
    await using world = await eventsWorld()
    const seen = world.service.subscribe(subscribe(), makeCall({ metadata: { 'flotilla-event-node': 'n2' } }))
    const publish = (node: string) =>
      world.metadata.transact('default', { events: [{ topic: '/t', typeUrl: 't', value: Buffer.from(node), node }] })
    for (const node of ['n1', 'n2', 'n3', 'n2']) await publish(node)
    expect((await take(2, seen)).map(textOf)).toEqual(['n2', 'n2'])
  })

  it('ends when the client cancels, also while nothing happens', async () => {
    await using world = await eventsWorld()
    const controller = new AbortController()
    const next = world.service
      .subscribe(subscribe(), makeCall({ signal: controller.signal }))
      [Symbol.asyncIterator]()
      .next()
    await sleep(20)
    controller.abort(new Error('left'))
    await expect(next).rejects.toThrow('left')
  })

  it('fails UNAVAILABLE while the store is away, and an open one goes on when it is back', async () => {
    await using world = await eventsWorld({ durable: true })
    const open = world.service.subscribe(subscribe(), makeCall())
    await say(world.service, 'first')
    const iterator = open[Symbol.asyncIterator]()
    expect(textOf((await iterator.next()).value)).toBe('first')
    await world.redis.kill()
    await expect(take(1, world.service.subscribe(subscribe(), makeCall()))).rejects.toMatchObject({
      code: status.UNAVAILABLE,
    })
    await expect(say(world.service, 'lost')).rejects.toMatchObject({ code: status.UNAVAILABLE })
    await world.redis.restart()
    await until('publishing to work again', () => say(world.service, 'second').then(() => true))
    expect(textOf((await iterator.next()).value)).toBe('second')
  })
})

describe('a past start', () => {
  it('may be a sequence number', async () => {
    await using world = await eventsWorld()
    for (const text of numbered(10)) await say(world.service, text)
    expect(await wholeLog(world.service)).toEqual(numbered(10))
    const from = (sequence: string) =>
      world.service.subscribe(subscribe(), makeCall({ metadata: { 'flotilla-from-sequence': sequence } }))
    expect((await take(7, from('4'))).map(textOf)).toEqual(numbered(10).slice(3))
    expect((await take(10, from('0'))).map(textOf)).toEqual(numbered(10))
    const next = take(1, from('11'))
    await say(world.service, '10')
    expect((await next).map(textOf)).toEqual(['10'])
    await expect(take(1, from('99'))).rejects.toMatchObject({
      code: status.OUT_OF_RANGE,
      message: 'event 99 is not reached yet, the newest is 11: out of range',
    })
  })

  it('may be a time', async () => {
    await using world = await eventsWorld()
    await say(world.service, 'early')
    await sleep(20)
    const time = new Date().toISOString()
    await say(world.service, 'late', 'a')
    await say(world.service, 'later', 'b')
    const from = (at: string) =>
      world.service.subscribe(subscribe(), makeCall({ metadata: { 'flotilla-from-time': at } }))
    expect((await take(2, from(time))).map(textOf)).toEqual(['late', 'later'])
    expect((await take(3, from('2001-01-01T00:00:00+01:00'))).map(textOf)).toEqual(['early', 'late', 'later'])
  })

  it.each([
    { 'flotilla-from-sequence': '-1' },
    { 'flotilla-from-sequence': 'x' },
    { 'flotilla-from-time': 'yesterday' },
    { 'flotilla-from-time': '2024-01-01' },
    { 'flotilla-from-time': '2024-01-01T00:00:00Z', 'flotilla-from-sequence': '1' },
  ])('is INVALID_ARGUMENT as %j', async (metadata) => {
    await using world = await eventsWorld()
    await expect(take(1, world.service.subscribe(subscribe(), makeCall({ metadata })))).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
  })

  it('is OUT_OF_RANGE beyond retention, by number and by time', async () => {
    await using world = await eventsWorld({ deps: { retention: { age: 3_600_000, count: 50 } } })
    const before = new Date().toISOString()
    for (const text of numbered(120)) await say(world.service, text)
    await until('the log to forget', async () => (await world.service.log.status({}, makeCall())).first === 71)
    const from = (metadata: Record<string, string>) =>
      take(1, world.service.subscribe(subscribe(), makeCall({ metadata })))
    await expect(from({ 'flotilla-from-sequence': '70' })).rejects.toMatchObject({
      code: status.OUT_OF_RANGE,
      message: 'event 70 is beyond retention, the oldest kept is 71: out of range',
    })
    await expect(from({ 'flotilla-from-time': before })).rejects.toMatchObject({ code: status.OUT_OF_RANGE })
    expect((await from({ 'flotilla-from-sequence': '71' })).map(textOf)).toEqual(['70'])
    expect((await from({ 'flotilla-from-sequence': '0' })).map(textOf)).toEqual(['70'])
  })

  it('forgets by age, and goes on counting', async () => {
    await using world = await eventsWorld({ deps: { retention: { age: 200, count: 1_000_000 } } })
    for (const text of numbered(10)) await say(world.service, text)
    await until('the log to be empty', async () => (await world.service.log.status({}, makeCall())).first === 11)
    const seen = world.service.log.read(read({ sequence: 0, follow: true }), makeCall())
    await say(world.service, 'new')
    expect((await take(1, seen)).map(({ sequence }) => sequence)).toEqual([11])
  })
})

describe('Log', () => {
  it('tells the sequence numbers, over gRPC, so that a reader can resume', async () => {
    await using world = await eventsWorld()
    const { log } = await world.overGrpc()
    for (const text of numbered(10)) await say(world.service, text)
    const first = await take(4, log.read(read({ sequence: 1, follow: true }), makeCall()))
    const rest: string[] = []
    for await (const entry of log.read(read({ sequence: first.at(-1)!.sequence + 1 }), makeCall()))
      rest.push(`${entry.sequence} ${entryText(entry)} ${entry.node}`)
    expect(rest).toEqual(numbered(6).map((_, i) => `${i + 5} ${i + 4} n1`))
    expect(Math.abs(Date.now() / 1_000 - first[0]!.recordedAt!.seconds)).toBeLessThan(60)
    const state = await log.status({}, makeCall())
    expect(state).toMatchObject({ first: 1, last: 10, logId: expect.stringMatching(/^[0-9a-f-]{36}$/) })
  })

  it('without following, ends with what was acknowledged when it was asked', async () => {
    await using world = await eventsWorld()
    expect(await wholeLog(world.service)).toEqual([])
    for (let i = 0; i < 20; i++) {
      await say(world.service, String(i), `ns${i}`)
      expect(await wholeLog(world.service)).toEqual(numbered(i + 1))
    }
    const none: unknown[] = []
    for await (const entry of world.service.log.read(read({}), makeCall())) none.push(entry)
    expect(none).toEqual([])
  })

  it('refuses a negative sequence', async () => {
    await using world = await eventsWorld()
    await expect(take(1, world.service.log.read(read({ sequence: -1 }), makeCall()))).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
  })
})
