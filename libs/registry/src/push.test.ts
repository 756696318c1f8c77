import { connect, createServer } from 'node:net'
import {
  buildImage,
  digestOf,
  freePort,
  startFaultyRegistry,
  startRegistry,
  type TestImage,
  type TestRegistry,
} from '@flotilla/testing'
import { describe, expect, it } from 'vitest'
import { bytesOf, pieces, quickClient, randomBlob } from './fixtures.ts'
import type { Credential, Repository } from './index.ts'

async function pushAll(repository: Repository, image: TestImage): Promise<string[]> {
  const results: string[] = []
  for (const blob of image.blobs) {
    const tag = blob === image.target ? repository.reference.tag : undefined
    results.push(await repository.push(blob, (offset) => pieces(blob.bytes, offset), { tag }))
  }
  return results
}

describe.each(['open', 'basic', 'token'] as const)('a registry that is %s', (kind) => {
  it('is pushed to, once', async () => {
    await using registry = await startRegistry(kind === 'open' ? {} : { auth: kind })
    const image = await buildImage({ index: true })
    await using client = quickClient()
    const { username, password } = registry
    const credentials = async (): Promise<Credential> => ({ kind: 'password', username, password })
    const repository = client.repository(`${registry.host}/team/app:v1`, { credentials })
    expect(await repository.has(image.layers[0]!)).toBe(false)
    expect(await pushAll(repository, image)).toEqual(['pushed', 'pushed', 'pushed', 'pushed'])
    expect(await repository.has(image.layers[0]!)).toBe(true)
    expect((await repository.resolve()).digest).toBe(image.target.digest)
    for (const blob of image.blobs) expect(digestOf(await bytesOf(repository.fetch(blob)))).toBe(blob.digest)
    expect(await pushAll(repository, image)).toEqual(['exists', 'exists', 'exists', 'exists'])
    // The same manifest by another name is there, its name is not.
    expect(await repository.push(image.target, () => pieces(image.target.bytes), { tag: 'v2' })).toBe('pushed')
    const second = client.repository(`${registry.host}/team/app:v2`, { credentials })
    expect((await second.resolve()).digest).toBe(image.target.digest)
  })

  it('takes a blob from another repository', async () => {
    await using registry = await startRegistry(kind === 'open' ? {} : { auth: kind })
    const blob = randomBlob(100_000)
    await using client = quickClient()
    const { username, password } = registry
    const credentials = async (): Promise<Credential> => ({ kind: 'password', username, password })
    const one = client.repository(`${registry.host}/team/one:v1`, { credentials })
    await one.push(blob, (offset) => pieces(blob.bytes, offset))
    const two = client.repository(`${registry.host}/team/two:v1`, { credentials })
    const never = () => {
      throw new Error('no bytes are needed')
    }
    expect(await two.push(blob, never, { mountFrom: ['team/one'] })).toBe('mounted')
    expect(digestOf(await bytesOf(two.fetch(blob)))).toBe(blob.digest)
    // A mount that cannot be had is an upload.
    const other = randomBlob(100_000, 2)
    const mountFrom = ['team/nowhere']
    expect(await two.push(other, (offset) => pieces(other.bytes, offset), { mountFrom })).toBe('pushed')
  })
})

it('refuses bytes that are not those of the descriptor', async () => {
  await using registry = await startRegistry()
  await using client = quickClient()
  const repository = client.repository(`${registry.host}/team/app:v1`)
  const blob = randomBlob(50_000)
  const short = repository.push(blob, () => pieces(blob.bytes.subarray(1)))
  await expect(short).rejects.toThrow(`${blob.digest} is 49999 bytes here, not 50000`)
  const other = repository.push(blob, () => pieces(randomBlob(50_000, 2).bytes))
  await expect(other).rejects.toThrow('400 Bad Request: DIGEST_INVALID')
  const broken = repository.push(blob, () => {
    throw new Error('the disk is gone')
  })
  await expect(broken).rejects.toThrow('the disk is gone')
  expect(await repository.has(blob)).toBe(false)
})

/** Stands before a registry and cuts the first connection that sends so many bytes. */
async function cuttingProxy(registry: TestRegistry, after: number) {
  const port = await freePort()
  const backend = Number(registry.host.split(':')[1])
  let cut = false
  const server = createServer((client) => {
    const upstream = connect(backend, '127.0.0.1')
    let sent = 0
    client.on('data', (bytes) => {
      sent += bytes.length
      upstream.write(bytes)
      if (cut || sent < after) return
      cut = true
      // The registry gets what was sent; the client hears nothing more.
      upstream.end()
      client.resetAndDestroy()
    })
    upstream.on('data', (bytes) => client.write(bytes))
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroySoon())
    }
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    host: `127.0.0.1:${port}`,
    wasCut: () => cut,
    [Symbol.dispose]: () => void server.close(),
  }
}

it('sends again what a registry has dropped when the connection broke', async () => {
  await using registry = await startRegistry()
  using proxy = await cuttingProxy(registry, 3_000_000)
  await using client = quickClient()
  const repository = client.repository(`${proxy.host}/team/app:v1`)
  const blob = randomBlob(8_000_000)
  const heard: number[] = []
  const push = repository.push(blob, (offset) => pieces(blob.bytes, offset), { onProgress: (sent) => heard.push(sent) })
  expect(await push).toBe('pushed')
  expect(proxy.wasCut()).toBe(true)
  expect(heard).toContain(0)
  expect(heard.at(-1)).toBe(blob.size)
  expect(digestOf(await bytesOf(repository.fetch(blob)))).toBe(blob.digest)
})

it('goes on with an upload from where the registry is, as often as it must', async () => {
  await using registry = await startFaultyRegistry()
  registry.fault({ path: /uploads/, method: 'PUT', fault: { kind: 'cut', after: 3_000_000 }, times: 1 })
  registry.fault({ path: /uploads/, method: 'PATCH', fault: { kind: 'cut', after: 500_000 }, times: 7 })
  await using client = quickClient()
  const repository = client.repository(`${registry.host}/team/app:v1`)
  const blob = randomBlob(8_000_000)
  const starts: number[] = []
  const open = (offset: number) => {
    starts.push(offset)
    return pieces(blob.bytes, offset)
  }
  expect(await repository.push(blob, open)).toBe('pushed')
  expect(starts).toEqual([0, ...Array.from({ length: 8 }, (_, n) => 3_000_000 + n * 500_000)])
  expect(digestOf(await bytesOf(repository.fetch(blob)))).toBe(blob.digest)
})

it('gives up an upload that comes no further', async () => {
  await using registry = await startFaultyRegistry()
  registry.fault({ path: /uploads/, method: 'PUT', fault: { kind: 'status', status: 503 } })
  await using client = quickClient({ retry: { attempts: 3 } })
  const blob = randomBlob(1_000_000)
  const pushed = client.repository(`${registry.host}/team/app:v1`).push(blob, (offset) => pieces(blob.bytes, offset))
  await expect(pushed).rejects.toThrow('503 Service Unavailable')
  expect(registry.requests.filter(({ method }) => method === 'PUT')).toHaveLength(3)
})

it('stops when it is told to', async () => {
  await using registry = await startRegistry()
  await using client = quickClient()
  const repository = client.repository(`${registry.host}/team/app:v1`)
  const blob = randomBlob(8_000_000)
  const abort = new AbortController()
  const reason = new Error('enough')
  const pushed = repository.push(blob, (offset) => pieces(blob.bytes, offset), {
    signal: abort.signal,
    onProgress: (sent) => sent > 1_000_000 && abort.abort(reason),
  })
  await expect(pushed).rejects.toBe(reason)
  expect(await repository.has(blob)).toBe(false)
})
