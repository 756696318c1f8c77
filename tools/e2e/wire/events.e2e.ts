import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { Image, ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import type { Envelope } from '@flotilla/api/containerd/types/types'
import { type Entry, LogDefinition, ReadRequest } from '@flotilla/api/flotilla/events/v1/events'
import { type Call, makeCall } from '@flotilla/rpc'
import { expect } from 'vitest'
import { type Clients, callIn, connectTo, refusalOf } from '../harness/clients.ts'
import { suite } from '../harness/suite.ts'

const target = { mediaType: 'text/plain', digest: `sha256:${'a'.repeat(64)}`, size: 5, annotations: {} }

/** Makes images in order; each is an event. */
async function make(clients: Clients, call: Call, ...names: string[]): Promise<void> {
  const images = clients.of(ImagesDefinition)
  for (const name of names)
    await images.create({ image: Image.fromPartial({ name, target }), sourceDateEpoch: undefined }, call)
}

/** The first so many of a stream, which is then cancelled. */
async function first<T>(count: number, stream: AsyncIterable<T>): Promise<T[]> {
  const some: T[] = []
  for await (const one of stream) if (some.push(one) === count) break
  return some
}

const nameIn = ({ event }: Envelope) =>
  Buffer.from(event?.value ?? [])
    .toString()
    .replace(/^[^\w]+/, '')
const numberOf = ({ sequence }: Entry) => sequence

suite(
  'events',
  ({ test, system }) => {
    test('are given from a number, from a time and from now on, in one order', async ({ namespace }) => {
      using clients = connectTo(system().address)
      const [events, log, call] = [clients.of(EventsDefinition), clients.of(LogDefinition), callIn(namespace)]
      const filters = [`namespace==${namespace},topic=="/images/create"`]
      const since = (metadata: Record<string, string>) =>
        events.subscribe({ filters }, makeCall({ timeout: 30_000, metadata }))
      const { last } = await log.status({}, makeCall({ timeout: 30_000 }))
      const began = new Date(Date.now() - 1).toISOString()
      await make(clients, call, 'one', 'two', 'three')

      const fromNumber = await first(3, since({ 'flotilla-from-sequence': String(last + 1) }))
      expect(fromNumber.map(nameIn)).toEqual(['one', 'two', 'three'])
      const entries = await first(
        3,
        log.read(
          ReadRequest.fromPartial({ sequence: last + 1, filters, follow: false }),
          makeCall({ timeout: 30_000 }),
        ),
      )
      expect(entries.map(({ envelope }) => nameIn(envelope as Envelope))).toEqual(['one', 'two', 'three'])
      const [, two = 0, three = 0] = entries.map(numberOf)
      expect(two).toBeGreaterThan(last)
      expect(three).toBeGreaterThan(two)

      // Who saw `two` goes on behind it, and meets what comes later in the same stream.
      const resumed = first(2, since({ 'flotilla-from-sequence': String(two + 1) }))
      await make(clients, call, 'four')
      expect((await resumed).map(nameIn)).toEqual(['three', 'four'])
      expect((await first(4, since({ 'flotilla-from-time': began }))).map(nameIn)).toEqual([
        'one',
        'two',
        'three',
        'four',
      ])
    })

    test('from a number that there is not yet, or a start that cannot be read, are refused', async () => {
      using clients = connectTo(system().address)
      const subscribe = (metadata: Record<string, string>) =>
        refusalOf(clients.of(EventsDefinition).subscribe({ filters: [] }, makeCall({ timeout: 30_000, metadata })))
      expect(await subscribe({ 'flotilla-from-sequence': '4000000000' })).toMatchObject({ code: 11 })
      expect(await subscribe({ 'flotilla-from-sequence': '-1' })).toMatchObject({ code: 3 })
      expect(await subscribe({ 'flotilla-from-time': 'yesterday' })).toMatchObject({ code: 3 })
    })

    test('are the same for whoever reads them again', async ({ namespace }) => {
      using clients = connectTo(system().address)
      const log = clients.of(LogDefinition)
      await make(clients, callIn(namespace), ...Array.from({ length: 50 }, (_, index) => `image ${index}`))
      const read = async () => {
        const entries: Entry[] = []
        const request = ReadRequest.fromPartial({ sequence: 0, follow: false })
        for await (const entry of log.read(request, makeCall({ timeout: 30_000 }))) entries.push(entry)
        return entries
      }
      const [once, again] = [await read(), await read()]
      expect(again.slice(0, once.length)).toEqual(once)
      const numbers = once.map(numberOf)
      expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index))
      expect(once.filter(({ envelope }) => envelope?.namespace === namespace)).toHaveLength(50)
    })
  },
  { versions: ['1.6'] },
)
