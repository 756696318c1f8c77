import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { buildImage, until } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, fetchesOf, startCluster } from './cluster.ts'

describe('content of three nodes', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await startCluster()
  }, 120_000)
  afterAll(() => cluster[Symbol.asyncDispose]())

  const blobOn = (node: string, digest: string) =>
    existsSync(
      join(cluster.dir, node, 'root/io.containerd.content.v1.content/blobs/sha256', digest.slice('sha256:'.length)),
    )

  it('pulled on a, an image runs on b and c at once, and the registry saw each blob once', async () => {
    const layers = [[{ name: 'big', content: randomBytes(20 * 1024 * 1024) }]]
    const image = await buildImage({ layers, index: true })
    const reference = cluster.registry.add('library/one:1', image)
    await cluster.ctr('a', 'images', 'pull', '--plain-http', reference)
    expect(await cluster.ctr('b', 'images', 'ls', '-q')).toContain(reference)
    expect(await cluster.ctr('c', 'content', 'ls', '-q')).toContain(image.manifest.digest)
    const [onB, onC] = await Promise.all(
      ['b', 'c'].map(async (node) => {
        await cluster.ctr(node, 'images', 'unpack', reference).catch(() => '')
        return await cluster.ctr(node, 'run', '--rm', reference, `run-${node}`, 'echo', `from ${node}`)
      }),
    )
    expect(onB).toBe('from b\n')
    expect(onC).toBe('from c\n')
    for (const [digest, count] of fetchesOf(cluster.registry)) expect([digest, count]).toEqual([digest, 1])
  })

  it('pulled by all three at once, the registry sees each blob once', async () => {
    const layers = [[{ name: 'one', content: randomBytes(24 * 1024 * 1024) }], [{ name: 'two', content: 'small' }]]
    const image = await buildImage({ layers, index: true })
    const reference = cluster.registry.add('library/three:1', image)
    await Promise.all(['a', 'b', 'c'].map((node) => cluster.ctr(node, 'images', 'pull', '--plain-http', reference)))
    const counts = fetchesOf(cluster.registry)
    const layerCounts = image.layers.slice(1).map((layer) => counts.get(layer.digest))
    expect(layerCounts).toEqual([1, 1])
    for (const node of ['a', 'b', 'c'])
      expect(await cluster.ctr(node, 'run', '--rm', reference, `all-${node}`, 'cat', '/two')).toBe('small')
  })

  it('content that no node has any more comes from its registry', async () => {
    const image = await buildImage({ layers: [[{ name: 'lost', content: 'found' }]], index: true })
    const reference = cluster.registry.add('library/lost:1', image)
    await cluster.ctr('a', 'images', 'pull', '--plain-http', reference)
    const layer = image.layers.at(-1)?.digest ?? ''
    await cluster.tell('kill', 'a')
    await cluster.sees('b', 'a', false, 15_000)
    const before = fetchesOf(cluster.registry).get(layer) ?? 0
    const { code, stdout } = await cluster.run('b', ['content', 'get', image.config.digest])
    expect(code).toBe(0)
    expect(stdout).toBe(image.config.bytes.toString())
    await cluster.ctr('b', 'run', '--rm', reference, 'refetched', 'cat', '/lost').catch(() => '')
    await cluster.ctr('b', 'content', 'get', layer)
    expect(fetchesOf(cluster.registry).get(layer)).toBe(before + 1)
    await cluster.tell('start', 'a')
    await cluster.sees('b', 'a', true, 10_000)
  })

  it('removed on one node, it goes from the disks of all, also of those that were away', async () => {
    const image = await buildImage({ scratch: true, layers: [[{ name: 'gone', content: 'soon' }]] })
    const reference = cluster.registry.add('library/gone:1', image)
    await cluster.ctr('a', 'images', 'pull', '--plain-http', reference)
    const digest = image.layers[0]?.digest ?? ''
    await cluster.ctr('b', 'content', 'get', digest)
    await cluster.ctr('c', 'content', 'get', digest)
    expect(['a', 'b', 'c'].map((node) => blobOn(node, digest))).toEqual([true, true, true])
    // One is away and one does not run: they are told when they are back.
    await cluster.tell('kill', 'b')
    await cluster.tell('partition', 'c')
    try {
      await cluster.ctr('a', 'images', 'rm', '--sync', reference)
      await until('the blob to go from a', () => !blobOn('a', digest))
      expect(['b', 'c'].map((node) => blobOn(node, digest))).toEqual([true, true])
    } finally {
      await cluster.tell('heal', 'c')
      await cluster.tell('start', 'b')
    }
    // What is unpacked holds no blobs; what a client's lease held has expired with its pull.
    await until('the blob to go everywhere', () => ['a', 'b', 'c'].every((node) => !blobOn(node, digest)), {
      timeout: 60_000,
    })
  })
})
