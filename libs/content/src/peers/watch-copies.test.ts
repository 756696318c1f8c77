import { makeCall } from '@flotilla/rpc'
import { until } from '@flotilla/testing'
import { expect, it } from 'vitest'
import { blobFiles, put, read } from '../testing/blobs.ts'
import { contentNodes } from '../testing/nodes.ts'

const call = makeCall({ namespace: 'ns' })

it('what a node took with it is copied to others, and one copy too many goes when it is back', async () => {
  const policy = { every: 50, pruneAfter: 1 }
  await using nodes = await contentNodes(['one', 'two', 'three'], { copies: 2, copiesPolicy: policy })
  const digests: string[] = []
  for (let i = 0; i < 20; i++) digests.push(await put(nodes.of('one').content, call, `pushed ${i}`))
  const holders = async (digest: string) => {
    const found: string[] = []
    for (const name of nodes.names) if ((await blobFiles(nodes.root(name))).includes(digest)) found.push(name)
    return found
  }
  const counts = async () => await Promise.all(digests.map(async (digest) => (await holders(digest)).length))
  await until('two copies of each', async () => (await counts()).every((count) => count === 2))

  nodes.away.add('one')
  await until('those who are left to have two copies of each', async () => {
    const left = await Promise.all(digests.map(holders))
    return left.every((names) => names.includes('two') && names.includes('three'))
  })
  for (const digest of digests) expect(String(await read(nodes.of('three').content, call, digest))).toMatch(/^pushed/)

  nodes.away.delete('one')
  await until('two copies of each again', async () => (await counts()).every((count) => count === 2))
  // What was pruned here is read from there; that brings it here again, for a while.
  for (const name of nodes.names)
    for (const digest of digests) expect(String(await read(nodes.of(name).content, call, digest))).toMatch(/^pushed/)
})

it('the last copy stays, however many nodes are said to have one', async () => {
  await using nodes = await contentNodes(['one', 'two', 'three'], {
    copies: 1,
    copiesPolicy: { every: 20, pruneAfter: 1 },
  })
  const digest = await put(nodes.of('one').content, call, 'only here')
  // Two claim to have it and do not.
  const { redis } = nodes.world.metadata
  const key = `fl:{blob:${digest}}:nodes`
  for (let i = 0; i < 20; i++) {
    await redis.sadd(key, 'two', 'three')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  expect(await blobFiles(nodes.root('one'))).toEqual([digest])
})
