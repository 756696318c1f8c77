#!/usr/bin/env node
import { Worker } from 'node:worker_threads'
// How long others wait while 100,000 objects are collected: in this process, and in Redis.
// Usage: node libs/gc/bench/collect.ts [IMAGES, default 5000; each is 20 objects]
import { createMetadata, type Metadata } from '@flotilla/metadata'
import { startRedis } from '@flotilla/testing'
import { collectNamespace } from '../src/collect-namespace.ts'
import { fill, objectsPerImage } from '../src/testing/large.ts'
import { measure, measureTurns } from '../src/testing/latency.ts'

const images = Number(process.argv[2] ?? 5_000)
const { signal } = new AbortController()

/** Runs something and tells how others fared meanwhile. */
async function watched(what: string, metadata: Metadata, url: string, work: () => Promise<unknown>): Promise<void> {
  let over = false
  const changes = measure(
    () => metadata.transact('other', { writes: [{ op: 'set', table: 'images', field: 'i', value: 'x' }] }),
    () => over,
  )
  // In a thread of its own, so that what it measures is Redis alone.
  const redis = new Worker(new URL('./probe.ts', import.meta.url), { workerData: url })
  await new Promise((resolve) => redis.once('message', resolve))
  await metadata.redis.config('SET', 'slowlog-log-slower-than', '2000', 'slowlog-max-len', '1000')
  await metadata.redis.slowlog('RESET')
  const began = performance.now()
  const turns = await measureTurns(work)
  const seconds = (performance.now() - began) / 1_000
  over = true
  const probe = new Promise((resolve) => redis.once('message', resolve))
  redis.postMessage('stop')
  console.log(`${what}: ${seconds.toFixed(2)} s`)
  console.log(`  computed in a turn of this thread: ${turns}`)
  console.log(`  another change in this process:    ${await changes}`)
  console.log(`  a command of another to Redis:     ${await probe}`)
  const slow = (await metadata.redis.slowlog('GET', 1_000)) as Array<[number, number, number, string[]]>
  const longest = slow.toSorted((a, b) => b[2] - a[2]).slice(0, 3)
  const told = longest.map(([, , us, [command]]) => `${command} ${(us / 1_000).toFixed(1)} ms`).join(', ')
  console.log(`  Redis commands of more than 2 ms:  ${slow.length}${told === '' ? '' : `, longest ${told}`}`)
  await redis.terminate()
}

for (const relaxed of [true, false]) {
  await using redis = await startRedis({ relaxed })
  await using metadata = await createMetadata({ url: redis.url, origin: 'bench' })
  console.log(`${images * objectsPerImage} objects, ${relaxed ? 'acknowledged without sync' : 'appendfsync always'}`)
  await watched('idle for a second', metadata, redis.url, () => new Promise((resolve) => setTimeout(resolve, 1_000)))
  await fill(metadata, 'kept', images, false)
  await watched('all reachable', metadata, redis.url, () => collectNamespace(metadata, 'kept', signal))
  await fill(metadata, 'gone', images, true)
  await watched('all garbage', metadata, redis.url, () => collectNamespace(metadata, 'gone', signal))
}
