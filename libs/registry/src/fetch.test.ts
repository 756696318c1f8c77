import { setTimeout as sleep } from 'node:timers/promises'
import { createLogger } from '@flotilla/log'
import { digestOf, type Fault, startFaultyRegistry, until } from '@flotilla/testing'
import { expect, it } from 'vitest'
import { bytesOf, quickClient, randomBlob } from './fixtures.ts'
import { partSize } from './parallel-download.ts'

const blob = randomBlob(3_000_000)
const large = randomBlob(4 * partSize + 12_345, 2)

/** A faulty registry that has the blobs, a client, and a repository of it. */
async function world(options: Parameters<typeof quickClient>[0] & { ranges?: boolean } = {}) {
  const registry = await startFaultyRegistry({ ranges: options.ranges ?? true })
  registry.addBlob(blob)
  registry.addBlob(large)
  const client = quickClient({ retry: { attempts: 3 }, ...options })
  return {
    registry,
    client,
    repository: client.repository(`${registry.host}/team/app:v1`),
    spoil: (fault: Fault, times?: number) => registry.fault({ path: /blobs/, fault, ...(times ? { times } : {}) }),
    ranges: () => registry.requests.map(({ headers }) => headers.range),
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]()
      await registry[Symbol.asyncDispose]()
    },
  }
}

it.each<[string, Fault]>([
  ['ends early', { kind: 'short', bytes: 1_000_000 }],
  ['is reset', { kind: 'reset', after: 1_000_000 }],
  ['stalls', { kind: 'stall', after: 1_000_000 }],
])('takes up a download that %s', async (_, fault) => {
  await using it = await world({ patience: { stall: 500 }, retry: { attempts: 10 } })
  it.spoil(fault, 1)
  expect(digestOf(await bytesOf(it.repository.fetch(blob)))).toBe(blob.digest)
  // More on a machine so slow that it looks like another stall.
  expect(it.ranges().length).toBeGreaterThanOrEqual(2)
  expect(it.ranges()[1]).toMatch(/^bytes=[1-9]\d*-$/)
})

it('takes up a download from a registry that knows no ranges', async () => {
  await using it = await world({ ranges: false })
  it.spoil({ kind: 'short', bytes: 1_000_000 }, 2)
  expect(digestOf(await bytesOf(it.repository.fetch(blob)))).toBe(blob.digest)
  const tail = await bytesOf(it.repository.fetch(blob, { offset: 2_000_001 }))
  expect(tail.equals(blob.bytes.subarray(2_000_001))).toBe(true)
})

it('reads the whole where a range turns out to be another', async () => {
  await using it = await world()
  it.spoil({ kind: 'shift', bytes: 7 }, 1)
  const tail = await bytesOf(it.repository.fetch(blob, { offset: 2_000_001 }))
  expect(tail.equals(blob.bytes.subarray(2_000_001))).toBe(true)
  expect(it.ranges()).toEqual(['bytes=2000001-', undefined])
})

it('gives up a download that comes no further, however often it is tried', async () => {
  await using it = await world()
  const back = it.spoil({ kind: 'short', bytes: 10 })
  await expect(bytesOf(it.repository.fetch(blob))).rejects.toThrow(`of ${blob.size} bytes`)
  expect(it.registry.requests).toHaveLength(3)
  back()
  expect(digestOf(await bytesOf(it.repository.fetch(blob)))).toBe(blob.digest)
  await using stalled = await world({ patience: { stall: 100 } })
  stalled.spoil({ kind: 'stall', after: 0 })
  await expect(bytesOf(stalled.repository.fetch(blob))).rejects.toThrow('waited 0.1s for bytes from')
  expect(stalled.registry.requests).toHaveLength(3)
})

it('waits for a slow reader without blaming the registry', async () => {
  await using it = await world({ patience: { stall: 1_000 } })
  let size = 0
  for await (const bytes of it.repository.fetch(blob)) {
    // Longer than the registry would be given, once.
    if (size === 0) await sleep(1_500)
    size += bytes.length
  }
  expect(size).toBe(blob.size)
  expect(it.registry.requests).toHaveLength(1)
})

it('refuses content of another size', async () => {
  await using it = await world()
  let back = it.spoil({ kind: 'more', extra: Buffer.from('more') })
  const expected = `has ${blob.size + 4} bytes as ${blob.digest}, its descriptor says ${blob.size}: failed precondition`
  await expect(bytesOf(it.repository.fetch(blob))).rejects.toThrow(expected)
  back()
  back = it.spoil({ kind: 'other', bytes: Buffer.from('other') })
  await expect(bytesOf(it.repository.fetch(blob))).rejects.toThrow(`has 5 bytes as ${blob.digest}`)
})

it.each([
  [
    401,
    1,
    'unexpected status from GET request to .*: 401 Unauthorized: TEST: spoiled on purpose: authorization failed',
  ],
  [403, 1, '403 Forbidden: TEST: spoiled on purpose: authorization failed'],
  [404, 2, 'content at .*: not found'],
  [429, 3, '429 Too Many Requests: .*: resource exhausted'],
  [500, 3, '500 Internal Server Error: TEST: spoiled on purpose: unavailable'],
])('answers a registry that says %i after %i requests', async (status, requests, text) => {
  await using it = await world()
  it.registry.fault({ path: /./, fault: { kind: 'status', status } })
  await expect(bytesOf(it.repository.fetch(blob))).rejects.toThrow(new RegExp(text))
  expect(it.registry.requests).toHaveLength(requests)
})

it.each([408, 429, 500, 502, 503, 504])('tries again after %i', async (status) => {
  await using it = await world()
  it.spoil({ kind: 'status', status }, 2)
  expect(digestOf(await bytesOf(it.repository.fetch(blob)))).toBe(blob.digest)
})

it('waits as long as it is asked to, and not for hours', async () => {
  const lines: string[] = []
  const destination = { write: (line: string) => void lines.push(line) }
  await using it = await world({ logger: createLogger({ level: 'debug', name: 'test', destination }) })
  it.spoil({ kind: 'status', status: 429, headers: { 'retry-after': '1' } }, 1)
  const soon = new Date(Date.now() + 1_500).toUTCString()
  it.spoil({ kind: 'status', status: 503, headers: { 'retry-after': soon } }, 1)
  expect(digestOf(await bytesOf(it.repository.fetch(blob)))).toBe(blob.digest)
  const waits = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'trying again')
  expect(waits).toMatchObject([{ why: 429, wait: 1_000 }, { why: 503 }])
  it.spoil({ kind: 'status', status: 429, headers: { 'retry-after': '7200' } }, 1)
  await expect(bytesOf(it.repository.fetch(blob))).rejects.toThrow('429 Too Many Requests')
  expect(it.registry.requests).toHaveLength(4)
})

it('follows to another host without what is meant for the first', async () => {
  await using other = await startFaultyRegistry({ ranges: true })
  other.addBlob(blob)
  await using registry = await startFaultyRegistry({ basic: { username: 'a', password: 'b' } })
  registry.fault({ path: /blobs/, fault: { kind: 'redirect', to: `${other.url}*` } })
  await using client = quickClient()
  const repository = client.repository(`${registry.host}/team/app:v1`, {
    headers: { 'X-Secret': 'ours', 'User-Agent': 'somebody' },
    credentials: async () => ({ kind: 'password', username: 'a', password: 'b' }),
  })
  const manifest = registry.tag('team/app:v1', randomBlob(100, 3))
  expect(manifest).toBe(`${registry.host}/team/app:v1`)
  await repository.resolve()
  expect(digestOf(await bytesOf(repository.fetch(blob)))).toBe(blob.digest)
  expect(registry.requests.at(-1)?.headers).toMatchObject({
    authorization: 'Basic YTpi',
    'x-secret': 'ours',
    'user-agent': 'somebody',
  })
  expect(other.requests).toHaveLength(1)
  expect(other.requests[0]?.headers).not.toHaveProperty('authorization')
  expect(other.requests[0]?.headers).not.toHaveProperty('x-secret')
})

it('refuses a header that would be two', async () => {
  await using client = quickClient()
  const split = () => client.repository('quay.io/a:b', { headers: { x: 'one\r\nauthorization: two' } })
  expect(split).toThrow('invalid header "x": invalid argument')
})

it('follows no circle', async () => {
  await using it = await world()
  it.spoil({ kind: 'redirect', to: `${it.registry.url}*` })
  await expect(bytesOf(it.repository.fetch(blob))).rejects.toThrow('redirects in circles')
})

it('has no more downloads on their way than it may', async () => {
  await using it = await world({ maxDownloads: 2 })
  const back = it.spoil({ kind: 'stall', after: 1000 })
  const abort = new AbortController()
  const fetches = Array.from({ length: 5 }, () => bytesOf(it.repository.fetch(blob, { signal: abort.signal })))
  const settled = Promise.allSettled(fetches)
  await until('two requests', () => it.registry.requests.length === 2)
  back()
  const reason = new Error('enough')
  abort.abort(reason)
  expect(await settled).toEqual(fetches.map(() => ({ status: 'rejected', reason })))
  expect(it.registry.requests).toHaveLength(2)
  // And the slots are free again, as they are when a reader leaves early.
  for (let n = 0; n < 3; n++) {
    for await (const bytes of it.repository.fetch(blob)) if (bytes.length > 0) break
  }
  expect(digestOf(await bytesOf(it.repository.fetch(blob)))).toBe(blob.digest)
})

it('fetches a large blob in parts, in order', async () => {
  await using it = await world()
  expect(digestOf(await bytesOf(it.repository.fetch(large, { ranges: 3 })))).toBe(large.digest)
  expect(it.ranges()).toHaveLength(5)
  it.spoil({ kind: 'reset', after: 100_000 }, 2)
  const tail = await bytesOf(it.repository.fetch(large, { ranges: 3, offset: 77 }))
  expect(tail.equals(large.bytes.subarray(77))).toBe(true)
})

it.each<[string, Fault, number]>([
  ['from the beginning', { kind: 'whole' }, 0],
  ['after a part', { kind: 'whole' }, 1],
  ['with another part', { kind: 'shift', bytes: 5 }, 2],
])('fetches the rest in one when a registry gives no parts, %s', async (_, fault, good) => {
  await using it = await world()
  if (good > 0) it.registry.fault({ path: /blobs/, fault: { kind: 'more', extra: Buffer.alloc(0) }, times: good })
  it.spoil(fault)
  expect(digestOf(await bytesOf(it.repository.fetch(large, { ranges: 3 })))).toBe(large.digest)
})
