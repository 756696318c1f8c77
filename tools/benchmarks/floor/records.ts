import { tempWorld } from '@flotilla/testing'
import { Redis } from 'ioredis'
import { messages } from '../load/messages.ts'
import { type Effort, type Floor, floorOf } from './floor.ts'
import { durableRedis } from './redis.ts'

/** Records asked for at once, as the collector does; of containers fewer, since they are large. */
const batch = { few: 40, many: 200 }

/** What a collection of 100,000 objects reads and removes, by a program that does not look at what it read. */
export async function* recordFloors(effort: Effort): AsyncGenerator<Floor> {
  await using world = await tempWorld({ name: 'bench-floor', tmpfs: true })
  await using server = await durableRedis(world)
  await using stack = new AsyncDisposableStack()
  const redis = stack.adopt(new Redis(server.socket), (client) => client.disconnect())
  const count = Math.ceil(45_000 * effort.share)
  const tables = [
    { message: 'container create', records: count, at: batch.few },
    { message: 'image create', records: count, at: batch.many },
    { message: 'lease create', records: Math.ceil(count / 4.5), at: batch.many },
  ] as const

  async function fill(message: (typeof tables)[number]['message'], records: number) {
    for (let from = 0; from < records; from += batch.many) {
      const rows = new Map<string, Buffer>()
      for (let number = from; number < Math.min(records, from + batch.many); number++)
        rows.set(`${message}-${number}`, Buffer.from(messages[message].of(number)))
      await redis.hset(message, rows)
    }
  }
  for (const { message, records } of tables) await fill(message, records)
  const [, , leases] = tables

  yield await floorOf(
    `records of ${count * 2 + leases.records} objects read, ${leases.records} removed`,
    effort,
    async () => {
      const passing: Buffer[] = []
      for (const { message, at } of tables) {
        let cursor = '0'
        do {
          const [next, rows] = await redis.hscanBuffer(message, cursor, 'COUNT', at)
          cursor = next.toString()
          if (message === leases.message) passing.push(...rows.filter((_, index) => index % 2 === 0))
        } while (cursor !== '0')
      }
      for (let from = 0; from < passing.length; from += batch.many)
        await redis.hdel(leases.message, ...passing.slice(from, from + batch.many))
    },
    { before: () => fill(leases.message, leases.records) },
  )
}
