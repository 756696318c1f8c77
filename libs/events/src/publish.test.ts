import { Envelope } from '@flotilla/api/containerd/types/types'
import { makeCall, status } from '@flotilla/rpc'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type EventsWorld, eventsWorld, textOf, wholeLog } from './fixture.ts'

let world: EventsWorld
beforeAll(async () => {
  world = await eventsWorld()
})
afterAll(() => world[Symbol.asyncDispose]())

const event = (text: string) => ({ typeUrl: 'test.Text', value: Buffer.from(text) })
const publish = (topic: string, namespace?: string) =>
  world.service.publish({ topic, event: event(topic) }, makeCall({ namespace }))
const forward = (envelope: object, metadata: Record<string, string> = {}) =>
  world.service.forward({ envelope: Envelope.fromPartial(envelope) }, makeCall({ metadata }))

describe('Publish', () => {
  it('needs a namespace', async () => {
    await expect(publish('/a')).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      message: 'failed publishing event: namespace is required: failed precondition',
    })
    await expect(publish('/a', 'no good')).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: expect.stringMatching(/^failed publishing event: namespace validation: identifier "no good" must match/),
    })
  })

  it.each([
    ['', 'envelope topic "": must not be empty: invalid argument'],
    ['a/b', `envelope topic "a/b": must start with '/': invalid argument`],
    ['/', 'envelope topic "/": must have at least one component: invalid argument'],
    ['/a/', 'envelope topic "/a/": failed validation on component "": identifier must not be empty: invalid argument'],
    ['//a', 'envelope topic "//a": failed validation on component "": identifier must not be empty: invalid argument'],
  ])('refuses the topic %j', async (topic, message) => {
    await expect(publish(topic, 'default')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT, message })
  })

  it('names the part of a topic that is no identifier', async () => {
    await expect(publish('/tasks/a b', 'default')).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: expect.stringMatching(
        /^envelope topic "\/tasks\/a b": failed validation on component "a b": identifier "a b" must match .*: invalid argument$/,
      ),
    })
  })

  it('takes the server time and notes the node whose socket it came through', async () => {
    const before = Date.now()
    const seen = world.service.log.read({ filters: [], node: '', follow: true }, makeCall())
    await world.service.publish(
      { topic: '/x', event: undefined },
      makeCall({ namespace: 'default', metadata: { 'flotilla-node': 'n7' } }),
    )
    for await (const entry of seen) {
      expect(entry.node).toBe('n7')
      expect(entry.envelope).toMatchObject({ namespace: 'default', topic: '/x', event: { typeUrl: '' } })
      expect(entry.envelope!.timestamp!.seconds).toBeGreaterThanOrEqual(Math.floor(before / 1_000))
      break
    }
  })
})

describe('Forward', () => {
  it('checks the envelope', async () => {
    await expect(forward({ topic: '/a' })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: 'event envelope has invalid namespace: identifier must not be empty: invalid argument',
    })
    await expect(forward({ namespace: 'default', topic: '' })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      message: 'envelope topic "": must not be empty: invalid argument',
    })
    await expect(world.service.forward({ envelope: undefined }, makeCall())).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
  })

  it('keeps the timestamp of the envelope, and takes a missing one as 1970', async () => {
    const seen = world.service.subscribe({ filters: ['namespace==times'] }, makeCall())
    await forward({ namespace: 'times', topic: '/a', timestamp: { seconds: 1_600_000_000, nanos: 123_456_789 } })
    await forward({ namespace: 'times', topic: '/a' })
    await forward({ namespace: 'times', topic: '/a', timestamp: { seconds: -62_135_596_800, nanos: 0 } })
    const times: unknown[] = []
    for await (const envelope of seen) if (times.push(envelope.timestamp) === 3) break
    expect(times).toEqual([
      { seconds: 1_600_000_000, nanos: 123_456_789 },
      { seconds: 0, nanos: 0 },
      { seconds: -62_135_596_800, nanos: 0 },
    ])
  })

  it('drops an event of a node journal that is there already', async () => {
    const send = (text: string, id: string) =>
      forward({ namespace: 'journal', topic: '/tasks/exit', event: event(text) }, { 'flotilla-event-id': id })
    await send('a', 'node/1')
    await send('b', 'node/2')
    await send('a', 'node/1')
    await send('b', 'node/2')
    await send('c', 'node/3')
    await send('other', 'node2/1')
    const entries: unknown[] = []
    const request = { sequence: 0, filters: ['namespace==journal'], node: '', follow: false }
    for await (const entry of world.service.log.read(request, makeCall()))
      entries.push([textOf(entry.envelope), entry.node])
    expect(entries).toEqual([
      ['a', 'node'],
      ['b', 'node'],
      ['c', 'node'],
      ['other', 'node2'],
    ])
  })

  it.each(['node', '/1', 'node/', 'node/0', 'node/-1', 'node/1.5', 'node/99999999999999999'])(
    'refuses the event id %j',
    async (id) => {
      await expect(forward({ namespace: 'default', topic: '/a' }, { 'flotilla-event-id': id })).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        message: expect.stringContaining('NODE/SEQUENCE'),
      })
    },
  )
})

it('leaves nothing of what was refused', async () => {
  expect((await wholeLog(world.service)).filter((text) => text.startsWith('/'))).toEqual([])
})
