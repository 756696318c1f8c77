import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { makeCall, status } from '@flotilla/rpc'
import { contentWriter } from '@flotilla/testing/content-suite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ContentService } from './index.ts'
import { begin, blobFiles, digestOf, ingestDirectories, put, read } from './testing/blobs.ts'
import { type ContentWorld, contentWorld } from './testing/world.ts'

describe('at the same time', () => {
  let world: ContentWorld
  let service: ContentService
  beforeAll(async () => {
    world = await contentWorld()
    service = await world.open()
  })
  afterAll(async () => {
    await service?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
  })

  test('of many that open one ref, exactly one has it', async () => {
    const call = makeCall({ namespace: 'one-ref' })
    const writers = Array.from({ length: 100 }, () => contentWriter(service.content, call))
    const outcomes = await Promise.allSettled(writers.map((writer) => writer.send({ ref: 'r' })))
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: status.UNAVAILABLE })
    await Promise.all(writers.map((writer) => writer.end().catch(() => {})))
  })

  test('writers that try again until they may write one after another, and lose nothing', async () => {
    const call = makeCall({ namespace: 'in-turn' })
    const turn = async (letter: string) => {
      for (;;) {
        const outcome = await begin(service.content, call, 'r', letter).catch((error: unknown) => error)
        if (!(outcome instanceof Error)) return
        if (!('code' in outcome) || outcome.code !== status.UNAVAILABLE) throw outcome
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    }
    const letters = [...'abcdefghijklmnopqrst']
    await Promise.all(letters.map(turn))
    const { status: found } = await service.content.status({ ref: 'r' }, call)
    expect(found?.offset).toBe(letters.length)
  })

  test('200 commits of one digest from different refs and namespaces all come to the same content', async () => {
    const data = Buffer.alloc(300_000, 'same ')
    const outcomes = await Promise.allSettled(
      Array.from({ length: 200 }, (_, i) =>
        put(service.content, makeCall({ namespace: `ns-${i % 20}` }), data, `ref ${i}`),
      ),
    )
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(20)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: status.ALREADY_EXISTS })
    for (let i = 0; i < 20; i++) {
      const call = makeCall({ namespace: `ns-${i}` })
      expect((await read(service.content, call, digestOf(data))).equals(data)).toBe(true)
      expect((await service.content.listStatuses({ filters: [] }, call)).statuses).toEqual([])
    }
    expect(await blobFiles(world.root)).toContain(digestOf(data))
  })

  test('Abort and COMMIT: the one that answers OK is the one that happened', async () => {
    const call = makeCall({ namespace: 'abort-commit' })
    for (let i = 0; i < 100; i++) {
      const data = Buffer.from(`contended ${i}`)
      const writer = contentWriter(service.content, call)
      await writer.send({ ref: 'r', action: WriteAction.WRITE, data })
      const committing = writer.send({ action: WriteAction.COMMIT, offset: data.length })
      const pause = i % 10
      const aborting = new Promise((resolve) => setTimeout(resolve, pause / 4)).then(() =>
        service.content.abort({ ref: 'r' }, call),
      )
      const [commit, abort] = await Promise.allSettled([committing, aborting])
      await writer.end().catch(() => {})
      const exists = await service.content.info({ digest: digestOf(data) }, call).then(
        () => true,
        () => false,
      )
      expect([commit.status, abort.status]).toEqual(exists ? ['fulfilled', 'rejected'] : ['rejected', 'fulfilled'])
      if (abort.status === 'rejected') expect(abort.reason).toMatchObject({ code: status.NOT_FOUND })
    }
    const { statuses } = await service.content.listStatuses({ filters: [] }, call)
    expect(statuses).toEqual([])
  })

  test('openings, writes and aborts of one ref leave it free and nothing behind', async () => {
    const call = makeCall({ namespace: 'mixed' })
    const before = await ingestDirectories(world.root)
    await Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        for (let round = 0; round < 25; round++) {
          if (i % 2 === 0) await begin(service.content, call, 'r', 'abc').catch(() => {})
          else await service.content.abort({ ref: 'r' }, call).catch(() => {})
        }
      }),
    )
    await begin(service.content, call, 'r', 'abc')
    await service.content.abort({ ref: 'r' }, call)
    expect(await ingestDirectories(world.root)).toEqual(before)
  })

  test('a long resumption does not hold up other calls', async () => {
    const call = makeCall({ namespace: 'long' })
    const piece = Buffer.alloc(8 * 1024 * 1024, 'x')
    for (let i = 0; i < 8; i++) await begin(service.content, call, 'large', piece)
    const digest = await put(service.content, call, 'small')
    let reads = 0
    const resumed = begin(service.content, call, 'large', '')
    let over = false
    void resumed.finally(() => {
      over = true
    })
    while (!over) {
      await read(service.content, call, digest)
      reads++
    }
    expect(await resumed).toMatchObject({ offset: 8 * piece.length })
    expect(reads).toBeGreaterThan(3)
  })
})
