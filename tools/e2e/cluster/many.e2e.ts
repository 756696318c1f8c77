import { randomBytes } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { buildImage } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Cluster, fetchesOf, startCluster } from './cluster.ts'

/** By hand: FLOTILLA_MANY_NODES=30 FLOTILLA_MANY_MB=500, on a disk with room for twice that on each node. */
const count = Number(process.env.FLOTILLA_MANY_NODES ?? 6)
const megabytes = Number(process.env.FLOTILLA_MANY_MB ?? 24)
const patience = 60_000 + count * megabytes * 60
const inMemory = count * megabytes < 2_000

describe(`an image of ${megabytes} MB and ${count} nodes`, () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await startCluster(count, inMemory)
  }, 300_000)
  afterAll(() => cluster?.[Symbol.asyncDispose](), 300_000)

  it(
    'pulled by all at once, it leaves the registry once and is whole on each',
    async () => {
      const pieces = Array.from({ length: 4 }, (_, index) => ({
        name: `piece-${index}`,
        content: randomBytes((megabytes / 4) * 1024 * 1024),
      }))
      const image = await buildImage({ layers: pieces.map((piece) => [piece]), index: true, compression: 'none' })
      const reference = cluster.registry.add('library/many:1', image)
      const begin = performance.now()
      const took = await Promise.all(
        cluster.nodes.map(async ({ name }) => {
          const pulling = ['images', 'pull', '--plain-http', reference]
          expect(await cluster.run(name, pulling, { longest: patience })).toMatchObject({ code: 0 })
          return Math.round(performance.now() - begin)
        }),
      )
      const fetches = fetchesOf(cluster.registry)
      expect(image.layers.map(({ digest }) => fetches.get(digest))).toEqual(image.layers.map(() => 1))
      const held = await Promise.all(
        cluster.nodes.map(async ({ name }) => {
          const blobs = join(cluster.dir, name, 'root/io.containerd.content.v1.content/blobs')
          const sizes = await Promise.all(
            image.layers.map(async ({ digest }) => (await stat(join(blobs, digest.replace(':', '/')))).size),
          )
          return sizes.reduce((sum, size) => sum + size)
        }),
      )
      const whole = image.layers.reduce((sum, { size }) => sum + size, 0)
      expect(held).toEqual(cluster.nodes.map(() => whole))
      const all = await Promise.all(
        cluster.nodes.map(({ name }) => cluster.ctr(name, 'run', '--rm', reference, `many-${name}`, 'ls', '/')),
      )
      for (const listed of all) for (const { name } of pieces) expect(listed).toContain(name)
      console.log(
        JSON.stringify({ nodes: count, bytesOnEachNode: whole, registryBytes: whole, millisecondsByNode: took }),
      )
    },
    patience,
  )
})
