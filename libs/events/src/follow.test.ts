import { createMetadata, type Metadata } from '@flotilla/metadata'
import { makeCall, status } from '@flotilla/rpc'
import { startRedis, type TestRedis, until } from '@flotilla/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { entryText, numbered, quiet, say, take, textOf, wholeLog } from './fixture.ts'
import { createEventsService, type EventsService } from './service.ts'

/** A process that nobody else writes beside: what it puts into the log is told rather than read. */
describe('subscribers of the only writer', () => {
  let owned: AsyncDisposableStack
  let redis: TestRedis
  let metadata: Metadata
  let service: EventsService

  const open = async (soleWriter: boolean, directEvents = true) =>
    owned.use(await createMetadata({ url: redis.url, origin: 'n1', directEvents, soleWriter }))
  const subscribed = () => service.subscribe({ filters: [] }, makeCall())
  const write = (to: Metadata, text: string, more: { sequence?: number } = {}) =>
    to.transact('default', { events: [{ topic: '/t', typeUrl: 't', value: Buffer.from(text), ...more }] })

  beforeEach(async () => {
    owned = new AsyncDisposableStack()
    redis = owned.use(await startRedis())
    metadata = await open(true)
    service = owned.use(createEventsService({ metadata, nodeName: 'n1', logger: quiet }))
  })
  afterEach(() => owned.disposeAsync())

  it('get events of many writers at once, each once and as the log has them', async () => {
    const subscriptions = [subscribed(), subscribed(), subscribed()].map((events) => take(600, events))
    await Promise.all(numbered(600).map((text, at) => say(service, text, `n${at % 3}`)))
    const log = await wholeLog(service)
    for (const events of await Promise.all(subscriptions)) expect(events.map(textOf)).toEqual(log)
  })

  it('get the same number, time and node as those who read the log', async () => {
    const request = { sequence: 1, filters: [], node: '' }
    await say(service, 'first')
    const following = service.log.read({ ...request, follow: true }, makeCall())
    const told = take(20, following)
    for (const text of numbered(19)) await say(service, text)
    const read = await Array.fromAsync(service.log.read({ ...request, follow: false }, makeCall()))
    expect(await told).toEqual(read)
    await using other = createEventsService({ metadata: await open(false), nodeName: 'n1', logger: quiet })
    expect(await Array.fromAsync(other.log.read({ ...request, follow: false }, makeCall()))).toEqual(read)
  })

  it('miss nothing and see nothing twice when the store is killed under changes', { timeout: 60_000 }, async () => {
    const seen: string[] = []
    const subscription = subscribed()[Symbol.asyncIterator]()
    const watching = (async () => {
      for (;;) {
        const text = textOf((await subscription.next()).value)
        if (text === 'end') return
        seen.push(text)
      }
    })()
    const acknowledged: string[] = []
    for (let kill = 0; kill < 3; kill++) {
      const writing = numbered(200, `${kill} `).map((text) =>
        say(service, text).then(
          () => acknowledged.push(text),
          () => {},
        ),
      )
      await Promise.race(writing)
      await redis.restart()
      await Promise.all(writing)
      await until('the store to be back', () => say(service, `back ${kill}`).then(() => true))
    }
    await say(service, 'end')
    await watching
    expect(seen).toEqual((await wholeLog(service)).slice(0, -1))
    expect(seen).toEqual(expect.arrayContaining(acknowledged))
  })

  it('get what an earlier process left on its way, and what waited in an outbox', async () => {
    const seen = take(5, subscribed())
    await write(await open(false), 'left')
    await write(metadata, 'own')
    await write(await open(false, false), 'relayed')
    await until('the relay', async () => (await wholeLog(service)).length === 3)
    await write(metadata, 'own again')
    await write(await open(false), 'last')
    expect((await seen).map(textOf)).toEqual(['left', 'own', 'relayed', 'own again', 'last'])
  })

  it('get an event of a journal once, alone or among others of one change', async () => {
    const seen = take(4, subscribed())
    for (const sequence of [1, 1, 2]) await write(metadata, String(sequence), { sequence })
    const event = (sequence: number) => ({ topic: '/t', typeUrl: 't', value: Buffer.from(`${sequence}`), sequence })
    await metadata.transact('default', { events: [event(2), event(3)] })
    await write(metadata, 'end')
    expect((await seen).map(textOf)).toEqual(['1', '2', '3', 'end'])
  })

  it('are told when the store lost events that they were given', { timeout: 30_000 }, async () => {
    const reading = service.log.read({ sequence: 0, filters: [], node: '', follow: true }, makeCall())
    const iterator = reading[Symbol.asyncIterator]()
    for (const text of numbered(5)) await say(service, text)
    for (const text of numbered(5)) expect(entryText((await iterator.next()).value)).toBe(text)
    const next = iterator.next()
    // It may fail while the store still restarts, before anyone waits for it.
    next.catch(() => {})
    await metadata.redis.call('FLUSHALL')
    await redis.restart()
    await expect(next).rejects.toMatchObject({ code: status.DATA_LOSS })
    await until('publishing to work again', () => say(service, 'new').then(() => true))
    await until('the new log', async () => (await wholeLog(service)).join() === 'new')
  })
})
