import type { Entry } from '@flotilla/api/flotilla/events/v1/events'
import { createMetadata, keyOf, tables } from '@flotilla/metadata'
import { makeCall } from '@flotilla/rpc'
import { startRedis } from '@flotilla/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { entryText, numbered, quiet } from './fixture.ts'
import { createEventsService } from './service.ts'

let owned: AsyncDisposableStack
let url: string

beforeEach(async () => {
  owned = new AsyncDisposableStack()
  url = owned.use(await startRedis({ relaxed: true })).url
})
afterEach(() => owned.disposeAsync())

const writer = async (directEvents: boolean) => owned.use(await createMetadata({ url, origin: 'n1', directEvents }))

const say = (metadata: Awaited<ReturnType<typeof writer>>, text: string, more: { sequence?: number } = {}) =>
  metadata.transact('default', { events: [{ topic: '/t', typeUrl: 't', value: Buffer.from(text), ...more }] })

/** The log from its first event to its end, once all that is acknowledged is there. */
async function log(): Promise<Entry[]> {
  await using metadata = await writer(true)
  await using service = createEventsService({ metadata, nodeName: 'n1', logger: quiet })
  return await Array.fromAsync(service.log.read({ sequence: 0, filters: [], node: '', follow: false }, makeCall()))
}

describe('an event that goes straight to the log', () => {
  it('is there when it is acknowledged, whole and numbered, whoever else writes', async () => {
    const writers = [await writer(true), await writer(true)]
    const texts = numbered(100)
    await Promise.all(texts.map((text, at) => say(writers[at % 2]!, text)))
    const [one] = writers
    expect(await one!.redis.exists(keyOf('default', tables.outbox))).toBe(0)
    const entries = await log()
    expect(entries.map(({ sequence }) => sequence)).toEqual(texts.map((_, at) => at + 1))
    expect(entries.map(entryText).sort()).toEqual([...texts].sort())
    expect(entries[0]).toMatchObject({ node: 'n1', envelope: { namespace: 'default', topic: '/t' } })
  })

  it('waits behind those that the relay has not moved yet, and no longer', async () => {
    const [through, direct] = [await writer(false), await writer(true)]
    await say(through, '1')
    await say(direct, '2')
    await say(through, '3')
    expect((await log()).map(entryText)).toEqual(['1', '2', '3'])
    await say(direct, '4')
    // Nobody relays now.
    expect(await direct.redis.xlen('fl:{events}:log')).toBe(4)
    expect((await log()).map(entryText)).toEqual(['1', '2', '3', '4'])
  })

  it('of a journal comes once', async () => {
    const direct = await writer(true)
    for (const sequence of [1, 2, 1, 2, 3]) await say(direct, String(sequence), { sequence })
    expect((await log()).map(entryText)).toEqual(['1', '2', '3'])
  })

  it('is not told when the change is refused', async () => {
    const direct = await writer(true)
    const refused = await direct.transact('default', {
      checks: [{ is: 'present', table: 't', field: 'f' }],
      events: [{ topic: '/t', typeUrl: 't', value: Buffer.alloc(0) }],
    })
    expect(refused).toMatchObject({ ok: false, check: 0 })
    expect(await log()).toEqual([])
  })

  it('reaches who subscribed before and not who subscribes after, in the millisecond of its own', async () => {
    const metadata = await writer(true)
    await using service = createEventsService({ metadata, nodeName: 'n1', logger: quiet })
    await say(metadata, 'before')
    const events = service.subscribe({ filters: [] }, makeCall())[Symbol.asyncIterator]()
    const first = events.next()
    await say(metadata, 'after')
    expect(String(Buffer.from((await first).value?.event?.value ?? []))).toBe('after')
    await events.return?.(undefined)
  })
})
