import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Entry } from '@flotilla/api/flotilla/events/v1/events'
import { createMetadata, keyOf, type Metadata, tables, toMillis } from '@flotilla/metadata'
import { makeCall } from '@flotilla/rpc'
import { startRedis, until } from '@flotilla/testing'
import { describe, expect, it } from 'vitest'
import { entryText, eventsWorld, numbered, quiet, say, wholeLog } from './fixture.ts'
import { createEventsService, type EventsService } from './service.ts'

const script = fileURLToPath(new URL('./relay-process.fixture.ts', import.meta.url))

async function relayProcess(url: string) {
  const child = spawn(process.execPath, [script, url], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return child
}

/** Publishes numbered events in some namespaces until told to stop; answers how many each has acknowledged. */
function publishing(metadata: Metadata, namespaces: readonly string[]) {
  let going = true
  const counts = namespaces.map(async (namespace) => {
    let count = 0
    while (going) {
      const texts = numbered(5).map((_, i) => `${namespace} ${count + i}`)
      // Sent together, so that a kill falls into the middle of something.
      const events = (text: string) => [{ topic: '/t', typeUrl: 't', value: Buffer.from(text) }]
      await Promise.all(texts.map((text) => metadata.transact(namespace, { events: events(text) })))
      count += texts.length
    }
    return numbered(count, `${namespace} `)
  })
  return async () => {
    going = false
    return await Promise.all(counts)
  }
}

async function expectEach(service: EventsService, acknowledged: readonly string[][]) {
  const texts = await wholeLog(service)
  for (const [index, wanted] of acknowledged.entries()) {
    const prefix = `${wanted[0]?.split(' ')[0]} `
    expect(
      texts.filter((text) => text.startsWith(prefix)),
      `namespace ${index}`,
    ).toEqual(wanted)
  }
  expect(texts).toHaveLength(acknowledged.flat().length)
}

describe('the relay', () => {
  it('keeps the order of each namespace, and between namespaces that of the time', async () => {
    await using world = await eventsWorld()
    const wanted = numbered(200)
    await Promise.all(wanted.map((text) => say(world.service, text, `ns${Number(text) % 7}`)))
    const entries: Entry[] = []
    const request = { sequence: 0, filters: [], node: '', follow: false }
    for await (const entry of world.service.log.read(request, makeCall())) entries.push(entry)
    expect(entries.map(({ sequence }) => sequence)).toEqual(wanted.map((text) => Number(text) + 1))
    for (let i = 0; i < 7; i++) {
      const own = entries.filter(({ envelope }) => envelope?.namespace === `ns${i}`)
      expect(own.map(entryText)).toEqual(wanted.filter((text) => Number(text) % 7 === i))
    }
    const times = entries.map(({ recordedAt }) => toMillis(recordedAt!))
    expect(times).toEqual(times.toSorted((a, b) => a - b))
  })

  it('moves each event exactly once, however often it is killed', { timeout: 60_000 }, async () => {
    await using redis = await startRedis({ relaxed: true })
    await using metadata = await createMetadata({ url: redis.url, origin: 'n1' })
    const stop = publishing(metadata, ['a', 'b', 'c'])
    // The next one is there before the last one dies, so that two also meet.
    let running = await relayProcess(redis.url)
    for (let kill = 0; kill < 8; kill++) {
      const next = await relayProcess(redis.url)
      await sleep(Math.random() * 40)
      running.kill('SIGKILL')
      await once(running, 'exit')
      running = next
    }
    running.kill('SIGKILL')
    await once(running, 'exit')
    const acknowledged = await stop()
    await using service = createEventsService({ metadata, nodeName: 'n1', logger: quiet })
    await expectEach(service, acknowledged)
  })

  it('shares the work with others without doing any of it twice', { timeout: 30_000 }, async () => {
    await using world = await eventsWorld()
    await world.another()
    await world.another()
    const seen: string[] = []
    const controller = new AbortController()
    const request = { sequence: 0, filters: [], node: '', follow: true }
    const reading = (async () => {
      const call = makeCall({ signal: controller.signal })
      for await (const entry of world.service.log.read(request, call)) seen.push(entryText(entry))
    })()
    const stop = publishing(world.metadata, ['a', 'b', 'c', 'd'])
    await sleep(1_500)
    const acknowledged = await stop()
    await expectEach(world.service, acknowledged)
    await until('the reader to have all', () => seen.length >= acknowledged.flat().length)
    expect(seen).toEqual(await wholeLog(world.service))
    controller.abort()
    await reading.catch(() => {})
  })

  it('loses nothing acknowledged when Redis is killed', { timeout: 60_000 }, async () => {
    await using world = await eventsWorld({ durable: true })
    const acknowledged: string[] = []
    const seen: string[] = []
    const controller = new AbortController()
    const reading = (async () => {
      const call = makeCall({ signal: controller.signal })
      const request = { sequence: 0, filters: [], node: '', follow: true }
      for await (const entry of world.service.log.read(request, call)) seen.push(entryText(entry))
    })()
    let going = true
    const writers = numbered(8).map(async (writer) => {
      for (let i = 0; going; i++) {
        const text = `${writer}-${i}`
        try {
          await say(world.service, text, `ns${writer}`)
          acknowledged.push(text)
        } catch {
          // Not acknowledged: it may be there or not.
          await sleep(5)
        }
      }
    })
    for (let kill = 0; kill < 4; kill++) {
      await sleep(100 + Math.random() * 200)
      await world.redis.kill()
      await world.redis.restart()
    }
    await sleep(200)
    going = false
    await Promise.all(writers)
    const texts = await until('the log', () => wholeLog(world.service))
    expect(new Set(texts).size).toBe(texts.length)
    expect(acknowledged.filter((text) => !texts.includes(text))).toEqual([])
    await until('the open reader to have all', () => seen.length >= texts.length)
    expect(seen).toEqual(texts)
    controller.abort()
    await reading.catch(() => {})
  })

  it('trims outboxes of what is in the log', async () => {
    await using world = await eventsWorld()
    for (const text of numbered(50)) await say(world.service, text)
    expect(await wholeLog(world.service)).toHaveLength(50)
    const outbox = keyOf('default', tables.outbox)
    await until('the outbox to be empty', async () => (await world.metadata.redis.xlen(outbox)) === 0)
    await say(world.service, 'after')
    expect((await wholeLog(world.service)).at(-1)).toBe('after')
  })
})
