import { link, mkdir, rm, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { type Metadata, tables } from '@flotilla/metadata'
import { makeCall, status, unavailable } from '@flotilla/rpc'
import { until } from '@flotilla/testing'
import { contentWriter } from '@flotilla/testing/content-suite'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ContentService } from './index.ts'
import { begin, blobFiles, digestOf, ingestDirectories, put, read, storeDirectory } from './testing/blobs.ts'
import { type ContentWorld, contentWorld } from './testing/world.ts'

describe('a sweep', () => {
  let world: ContentWorld
  let root: string
  let service: ContentService
  let made = 0
  const a = makeCall({ namespace: 'a' })
  const b = makeCall({ namespace: 'b' })
  const sweep = (...digests: string[]) => service.blobs.sweep({ digests }, makeCall())
  const novel = () => `blob ${++made}`
  const forget = (namespace: string, table: string, field: string) =>
    world.metadata.transact(namespace, { writes: [{ op: 'delete', table, field }] })

  beforeAll(async () => {
    world = await contentWorld()
  })
  beforeEach(async () => {
    await service?.[Symbol.asyncDispose]()
    root = world.world.join(`root-${++made}`)
    await mkdir(root)
    service = await world.open({ root })
  })
  afterAll(async () => {
    await service?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
  })

  test('unlinks what no namespace names, and nothing else', async () => {
    const [mine, shared, gone] = [novel(), novel(), novel()]
    await put(service.content, a, mine)
    await put(service.content, a, shared)
    await put(service.content, b, shared)
    await put(service.content, a, gone)
    await service.content.delete({ digest: digestOf(shared) }, a)
    await service.content.delete({ digest: digestOf(gone) }, a)
    expect(await sweep()).toEqual({ blobs: 1, ingests: 0, bytes: gone.length })
    expect(await blobFiles(root)).toEqual([digestOf(mine), digestOf(shared)].sort())
    expect(await sweep()).toEqual({ blobs: 0, ingests: 0, bytes: 0 })
  })

  test('looks only at the digests it was given', async () => {
    const [one, two, kept] = [novel(), novel(), novel()]
    for (const data of [one, two, kept]) await put(service.content, a, data)
    for (const data of [one, two]) await service.content.delete({ digest: digestOf(data) }, a)
    expect(await sweep(digestOf(one), digestOf(kept), digestOf('never there'))).toMatchObject({ blobs: 1 })
    expect(await blobFiles(root)).toEqual([digestOf(two), digestOf(kept)].sort())
    await expect(sweep('sha256:../..')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })

  test.each(['lost', 'written'])(
    'a commit whose answer was cut off is looked at again: its record is %s',
    async (end) => {
      const cut: Metadata = {
        ...world.metadata,
        async transact(namespace, plan) {
          const isCommit = plan.events?.some(({ topic }) => topic === '/content/create') ?? false
          const answer = isCommit && end === 'lost' ? undefined : await world.metadata.transact(namespace, plan)
          if (answer === undefined || isCommit) throw unavailable('the store broke off')
          return answer
        },
      }
      await service[Symbol.asyncDispose]()
      service = await world.open({ root, metadata: cut, secondLookAfter: 200 })
      const data = novel()
      await expect(put(service.content, a, data)).rejects.toMatchObject({ code: status.UNAVAILABLE })
      expect(await blobFiles(root)).toEqual([digestOf(data)])
      if (end === 'lost') await until('the blob to go', async () => (await blobFiles(root)).length === 0)
      else {
        await sleep(600)
        expect(String(await read(service.content, a, digestOf(data)))).toBe(data)
      }
    },
  )

  test('removes thousands of blobs in one go and keeps as many', async () => {
    const directory = storeDirectory(root, 'blobs', 'sha256')
    await writeFile(world.world.join('seed'), 'x')
    const names = Array.from({ length: 1_000 }, (_, i) => digestOf(`file ${i}`).slice('sha256:'.length))
    for (const name of names) await link(world.world.join('seed'), `${directory}/${name}`)
    const kept = names.slice(0, 500)
    for (const [i, name] of kept.entries())
      await world.metadata.transact(i % 2 === 0 ? 'a' : 'b', {
        writes: [{ op: 'set', table: tables.content, field: `sha256:${name}`, value: 'x' }],
      })
    expect(await sweep()).toMatchObject({ blobs: 500 })
    for (const [i, name] of kept.entries()) await forget(i % 2 === 0 ? 'a' : 'b', tables.content, `sha256:${name}`)
    expect(await sweep()).toMatchObject({ blobs: 500 })
  })

  test('keeps a blob that an ingest is to adopt, until that is aborted or collected', async () => {
    const data = novel()
    const digest = await put(service.content, a, data)
    await begin(service.content, b, 'aborted', '', digest)
    await begin(service.content, b, 'collected', '', digest)
    await service.content.delete({ digest }, a)
    expect(await sweep(digest)).toMatchObject({ blobs: 0 })
    await service.content.abort({ ref: 'aborted' }, b)
    expect(await sweep(digest)).toMatchObject({ blobs: 0 })
    await service[Symbol.asyncDispose]()
    service = await world.open({ root })
    expect(await sweep(digest)).toMatchObject({ blobs: 0 })
    await forget('b', tables.ingests, 'collected')
    expect(await sweep(digest)).toMatchObject({ blobs: 1 })
  })

  test('keeps what an open writer has, though its record was collected, and that can be committed', async () => {
    const adopted = novel()
    const digest = await put(service.content, a, adopted)
    const adopting = contentWriter(service.content, b)
    await adopting.send({ ref: 'adopting', expected: digest })
    const writing = contentWriter(service.content, b)
    await writing.send({ ref: 'writing', action: WriteAction.WRITE, data: Buffer.from('abc') })
    await service.content.delete({ digest }, a)
    for (const ref of ['adopting', 'writing']) await forget('b', tables.ingests, ref)
    expect(await sweep()).toEqual({ blobs: 0, ingests: 0, bytes: 0 })
    await adopting.send({ action: WriteAction.COMMIT, offset: adopted.length, expected: digest })
    await writing.send({ action: WriteAction.COMMIT, offset: 3 })
    expect(String(await read(service.content, b, digest))).toBe(adopted)
    expect(String(await read(service.content, b, digestOf('abc')))).toBe('abc')
  })

  test('removes ingests without a record', async () => {
    await begin(service.content, a, 'kept', 'abc')
    await begin(service.content, a, 'collected', 'abcd')
    await forget('a', tables.ingests, 'collected')
    expect(await sweep(digestOf('some'))).toEqual({ blobs: 0, ingests: 1, bytes: 4 })
    expect(await ingestDirectories(root)).toHaveLength(1)
    expect(await begin(service.content, a, 'kept', 'def')).toMatchObject({ offset: 6, digest: digestOf('abcdef') })
    expect(await begin(service.content, a, 'collected', '')).toMatchObject({ offset: 0 })
  })

  test('of ingests only leaves blobs alone', async () => {
    const blob = novel()
    await put(service.content, a, blob)
    await forget('a', tables.content, digestOf(blob))
    await begin(service.content, a, 'collected', 'abcd')
    await forget('a', tables.ingests, 'collected')
    const request = { digests: [], ingestsOnly: true }
    expect(await service.blobs.sweep(request, makeCall())).toEqual({ blobs: 0, ingests: 1, bytes: 4 })
    expect(await blobFiles(root)).toEqual([digestOf(blob)])
  })

  test('is not needed for an ingest that was collected while it was written', async () => {
    const writer = contentWriter(service.content, a)
    await writer.send({ ref: 'collected', action: WriteAction.WRITE, data: Buffer.from('abc') })
    await forget('a', tables.ingests, 'collected')
    expect(await sweep()).toMatchObject({ ingests: 0 })
    await writer.end()
    expect(await ingestDirectories(root)).toEqual([])
  })

  test('is not needed for a blob whose lease went while it was committed', async () => {
    await world.metadata.transact('a', {
      writes: [{ op: 'set', table: tables.leases, field: 'l', value: Buffer.of() }],
    })
    const writer = contentWriter(service.content, makeCall({ namespace: 'a', lease: 'l' }))
    const { offset } = await writer.send({ ref: 'leased', action: WriteAction.WRITE, data: Buffer.from(novel()) })
    await forget('a', tables.leases, 'l')
    await expect(writer.send({ action: WriteAction.COMMIT, offset })).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: 'lease does not exist: not found',
    })
    expect(await blobFiles(root)).toEqual([])
  })

  test('never takes a blob that is being committed', async () => {
    let done = false
    const sweeping = (async () => {
      while (!done) await sweep()
    })()
    try {
      await Promise.all(
        ['a', 'b', 'c', 'd'].map(async (namespace) => {
          const call = makeCall({ namespace })
          for (let i = 0; i < 100; i++) {
            // The four meet at the same digests, so commit, adoption, delete and sweep of one blob run together.
            const data = `contended ${i % 5}`
            const digest = digestOf(data)
            const writer = contentWriter(service.content, call)
            try {
              const opened = await writer.send({ ref: `r${i}`, expected: i % 2 === 0 ? digest : '' })
              await writer.send({
                action: WriteAction.COMMIT,
                offset: opened.offset,
                data: opened.offset === 0 ? Buffer.from(data) : Buffer.alloc(0),
                expected: digest,
              })
            } finally {
              await writer.end().catch(() => {})
            }
            expect(String(await read(service.content, call, digest))).toBe(data)
            await service.content.delete({ digest }, call)
          }
        }),
      )
    } finally {
      done = true
      await sweeping
    }
    await sweep()
    expect(await blobFiles(root)).toEqual([])
  })

  test('never takes a blob that is being adopted', async () => {
    for (let i = 0; i < 200; i++) {
      const data = novel()
      const digest = await put(service.content, a, data)
      await service.content.delete({ digest }, a)
      const writer = contentWriter(service.content, b)
      const opening = writer.send({ ref: `adopt ${i}`, expected: digest, total: data.length })
      for (let turns = 0; turns < i % 20; turns++) await new Promise((resolve) => setImmediate(resolve))
      const [opened] = await Promise.all([opening, sweep(digest)])
      await writer.send({
        action: WriteAction.COMMIT,
        offset: opened.offset,
        data: opened.offset === 0 ? Buffer.from(data) : Buffer.alloc(0),
        expected: digest,
      })
      await writer.end()
      expect(String(await read(service.content, b, digest))).toBe(data)
    }
  })

  test('locates a blob for readers on the same node', async () => {
    const data = novel()
    const digest = await put(service.content, a, data)
    expect(await service.blobs.locate({ digest }, a)).toEqual({
      path: storeDirectory(root, 'blobs', 'sha256', digest.slice('sha256:'.length)),
      size: data.length,
    })
    await expect(service.blobs.locate({ digest }, b)).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: `content digest ${digest}: not found`,
    })
    await rm(storeDirectory(root, 'blobs', 'sha256', digest.slice('sha256:'.length)))
    await expect(service.blobs.locate({ digest }, a)).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: `content ${digest} has no bytes on node node-1: not found`,
    })
    await expect(service.blobs.locate({ digest: 'x' }, a)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })
})
