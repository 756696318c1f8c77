import { mkdir } from 'node:fs/promises'
import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { makeCall, status } from '@flotilla/rpc'
import { contentWriter } from '@flotilla/testing/content-suite'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ContentService } from './index.ts'
import { begin, blobFiles, digestOf, ingestDirectories, put, read } from './testing/blobs.ts'
import { type ContentWorld, contentWorld } from './testing/world.ts'

describe('two nodes with the same records', () => {
  let world: ContentWorld
  let one: ContentService
  let two: ContentService
  let call = makeCall()
  let made = 0
  const root = (node: string) => world.world.join(node)
  const open = async (node: string) => {
    await mkdir(root(node), { recursive: true })
    return await world.open({ root: root(node), nodeName: node })
  }
  beforeAll(async () => {
    world = await contentWorld()
    one = await open('one')
    two = await open('two')
  })
  beforeEach(() => {
    call = makeCall({ namespace: `ns-${++made}` })
  })
  afterAll(async () => {
    await one?.[Symbol.asyncDispose]()
    await two?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
  })

  test('content of one is known to the other, which says that it lacks the bytes', async () => {
    const digest = await put(one.content, call, 'far away')
    expect((await two.content.info({ digest }, call)).info).toMatchObject({ digest, size: 8 })
    await expect(read(two.content, call, digest)).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: `content ${digest} has no bytes on node two: not found`,
    })
  })

  test('bytes can be brought to the other, and the record stays as it was', async () => {
    const data = 'wanted on both'
    const digest = await put(one.content, call, data)
    const before = await two.content.info({ digest }, call)
    const writer = contentWriter(two.content, call)
    expect(await writer.send({ ref: 'r', expected: digest, total: data.length })).toMatchObject({ offset: 0 })
    await writer.send({ action: WriteAction.WRITE, data: Buffer.from(data) })
    await expect(
      writer.send({ action: WriteAction.COMMIT, offset: data.length, expected: digest }),
    ).rejects.toMatchObject({ code: status.ALREADY_EXISTS, message: `content ${digest}: already exists` })
    expect(String(await read(two.content, call, digest))).toBe(data)
    expect(await two.content.info({ digest }, call)).toEqual(before)
    await expect(begin(two.content, call, 'r', '', digest)).rejects.toMatchObject({ code: status.ALREADY_EXISTS })
  })

  test('both may bring the same blob under the same ref at once', async () => {
    const data = 'pulled twice'
    const [a, b] = [contentWriter(one.content, call), contentWriter(two.content, call)]
    for (const writer of [a, b]) await writer.send({ ref: 'layer', expected: digestOf(data) })
    for (const writer of [a, b]) await writer.send({ action: WriteAction.WRITE, data: Buffer.from(data) })
    await a.send({ action: WriteAction.COMMIT, offset: data.length, expected: digestOf(data) })
    await expect(
      b.send({ action: WriteAction.COMMIT, offset: data.length, expected: digestOf(data) }),
    ).rejects.toMatchObject({ code: status.ALREADY_EXISTS })
    for (const node of [one, two]) expect(String(await read(node.content, call, digestOf(data)))).toBe(data)
  })

  test('an ingest that the other has taken over is swept here, not there', async () => {
    await begin(one.content, call, 'moved', 'abc')
    await begin(two.content, call, 'moved', 'abcd')
    await expect(one.content.status({ ref: 'moved' }, call)).rejects.toMatchObject({ code: status.NOT_FOUND })
    expect((await one.content.listStatuses({ filters: [] }, call)).statuses).toEqual([])
    expect((await two.content.status({ ref: 'moved' }, call)).status?.offset).toBe(4)
    expect(await one.blobs.sweep({ digests: [] }, makeCall())).toMatchObject({ ingests: 1, bytes: 3 })
    await two.blobs.sweep({ digests: [] }, makeCall())
    expect(await ingestDirectories(root('two'))).toHaveLength(1)
    await two[Symbol.asyncDispose]()
    two = await open('two')
    expect(await begin(two.content, call, 'moved', '')).toMatchObject({ offset: 4 })
  })

  test('a sweep of one leaves what the other has', async () => {
    const digest = await put(one.content, call, 'kept on one')
    await two.blobs.sweep({ digests: [digest] }, makeCall())
    expect(await blobFiles(root('one'))).toContain(digest)
    await one.content.delete({ digest }, call)
    expect(await one.blobs.sweep({ digests: [digest] }, makeCall())).toMatchObject({ blobs: 1 })
  })
})
