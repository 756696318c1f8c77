import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode, status } from '@flotilla/rpc'
import { startSentinels, type TestSentinels, until } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sentinelOptions } from './server-groups.ts'
import { createMetadata, type Metadata } from './store.ts'

describe('an address of Sentinels', () => {
  it('names all of them, what they watch, and passwords', () => {
    expect(sentinelOptions('redis+sentinel://me:a%40b@one:1,two,[::1]:3/main/2?sentinel_password=other')).toEqual({
      sentinels: [
        { host: 'one', port: 1 },
        { host: 'two', port: 26379 },
        { host: '::1', port: 3 },
      ],
      name: 'main',
      role: 'master',
      username: 'me',
      password: 'a@b',
      sentinelPassword: 'other',
      db: 2,
    })
    expect(sentinelOptions('rediss+sentinel://secret@one/main')).toMatchObject({
      password: 'secret',
      enableTLSForSentinelMode: true,
    })
  })
  it.each(['redis+sentinel://one', 'redis+sentinel:///main', 'redis+sentinel://one/'])('is refused as %s', (url) => {
    expect(() => sentinelOptions(url)).toThrow('redis+sentinel://[user:password@]host:port,host:port/NAME')
  })
})

describe('a primary with replicas under Sentinel', () => {
  let world: TestSentinels
  beforeAll(async () => {
    world = await startSentinels()
  }, 60_000)
  afterAll(() => world[Symbol.asyncDispose]())

  it('fails over while many write: calls fail at once, then work, and all that was acknowledged is there once', async () => {
    const { servers, url } = world
    const open = (origin: string) => createMetadata({ url, origin, replicas: 1 })
    await using stack = new AsyncDisposableStack()
    const nodes: Metadata[] = []
    for (const origin of ['a', 'b', 'c']) nodes.push(stack.use(await open(origin)))
    const acknowledged = new Set<string>()
    const refused = new Set<string>()
    let over = false
    let sinceFailover = 0
    let failedOver = false

    async function write(metadata: Metadata, writer: string) {
      for (let i = 0; !over; i++) {
        const name = `${writer}-${i}`
        const event = { topic: '/t', typeUrl: 't', value: Buffer.from(name) }
        try {
          await metadata.transact('ns', {
            checks: [{ is: 'absent', table: 't', field: name }],
            writes: [{ op: 'set', table: 't', field: name, value: name }],
            events: [event],
          })
          acknowledged.add(name)
          if (failedOver) sinceFailover++
        } catch (error) {
          expect(hasCode(error, status.UNAVAILABLE), String(error)).toBe(true)
          refused.add(name)
          await sleep(20)
        }
      }
    }
    const writing = nodes.flatMap((metadata, n) => [0, 1, 2].map((i) => write(metadata, `${n}.${i}`)))
    try {
      await until('writes to be acknowledged', () => acknowledged.size > 200)
      const before = await world.primary()
      await servers.get(before)?.kill()
      await until('the Sentinels to choose another', async () => ![0, before].includes(await world.primary()))
      failedOver = true
      await until('writes to be acknowledged again', () => sinceFailover > 200)
      // It comes back as a replica, whatever it had that nobody else has.
      await servers.get(before)?.restart()
      await until('writes to go on', () => sinceFailover > 600)
    } finally {
      over = true
      await Promise.all(writing)
    }
    expect(refused.size).toBeGreaterThan(0)

    await using metadata = await open('reader')
    const there = new Map(await metadata.all('ns', 't'))
    expect([...acknowledged].filter((name) => !there.has(name))).toEqual([])
    // What was not acknowledged may be there, whole: a record with its event.
    const events = await metadata.redis.xrangeBuffer('fl:{ns}:events', '-', '+')
    const told = events.map(([, fields]) => String(fields[fields.findIndex((field) => String(field) === 'value') + 1]))
    expect(told.toSorted()).toEqual([...there.keys()].toSorted())
    expect([...there.keys()].filter((name) => !acknowledged.has(name) && !refused.has(name))).toEqual([])
  }, 90_000)

  it('acknowledges nothing that too few replicas have', async () => {
    await using metadata = await createMetadata({ url: world.url, origin: 'a', replicas: 3 })
    // After the fail-over before this the servers may still be finding their places, and calls fail for that: no attempt
    // may be acknowledged, and one says in the end that it was for the replicas.
    const failures: unknown[] = []
    await until('a change to be refused for its replicas', async () => {
      const failure = await metadata
        .transact('few', { writes: [{ op: 'set', table: 't', field: 'f', value: 'v' }] })
        .catch((error: unknown) => error)
      failures.push(failure)
      return /[12] of 3 replicas confirmed the change/.test(String(failure))
    })
    for (const failure of failures) expect(hasCode(failure, status.UNAVAILABLE), String(failure)).toBe(true)
  }, 60_000)
})
