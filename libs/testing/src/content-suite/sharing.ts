import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { describe, expect, test } from 'vitest'
import { type Bench, bytes, code, digestOf } from './bench.ts'

const { WRITE, COMMIT } = WriteAction

/** Content that one namespace has from another, under policy `shared`. */
export function sharingCases(bench: Bench): void {
  describe('sharing', () => {
    const { fresh, novel, send, put, read, refs, infoOf } = bench
    test('bytes that the store has need not be sent again', async () => {
      const owner = fresh()
      const data = novel()
      const digest = await put(owner, data)
      const call = fresh()
      const answers = await send(
        call,
        { ref: 'r', total: data.length, expected: digest },
        { action: COMMIT, offset: data.length, total: data.length, expected: digest, labels: { own: 'yes' } },
      )
      expect(answers.map((answer) => [answer.offset, answer.digest])).toEqual(Array(2).fill([data.length, digest]))
      expect(await read(call, digest)).toEqual(data)
      expect((await infoOf(call, digest))!.labels).toEqual({ own: 'yes' })
      expect((await infoOf(owner, digest))!.labels).toEqual({})
    })

    test('an ingest that waits to adopt has no status, and Abort ends it', async () => {
      const digest = await put(fresh(), novel())
      const call = fresh()
      await send(call, { ref: 'r', expected: digest })
      await expect(bench.content.status({ ref: 'r' }, call)).rejects.toMatchObject(code('NOT_FOUND'))
      expect(await refs(call)).toEqual([])
      await bench.content.abort({ ref: 'r' }, call)
      await expect(bench.content.abort({ ref: 'r' }, call)).rejects.toMatchObject(code('NOT_FOUND'))
    })

    test('another total means other bytes', async () => {
      const data = novel()
      const digest = await put(fresh(), data)
      const call = fresh()
      expect((await send(call, { ref: 'r', total: data.length + 1, expected: digest }))[0]).toMatchObject({
        offset: 0,
      })
      expect(await refs(call)).toEqual(['r'])
    })

    test('writing to adopted bytes changes a copy of them', async () => {
      const owner = fresh()
      const data = novel()
      const digest = await put(owner, data)
      const call = fresh()
      const more = Buffer.concat([data, bytes('more')])
      const answers = await send(
        call,
        { ref: 'r', expected: digest },
        { action: WRITE, offset: data.length, data: bytes('more') },
        { action: COMMIT, offset: more.length, expected: digestOf(more) },
      )
      expect(answers.at(-1)).toMatchObject({ digest: digestOf(more), offset: more.length })
      expect(await read(call, digestOf(more))).toEqual(more)
      expect(await read(owner, digest)).toEqual(data)
    })

    test('writing at 0 starts bytes of its own', async () => {
      const owner = fresh()
      const data = novel()
      const digest = await put(owner, data)
      const call = fresh()
      await send(
        call,
        { ref: 'r', expected: digest },
        { action: WRITE, offset: 0, data: bytes('mine') },
        { action: COMMIT, offset: 4, expected: digestOf('mine') },
      )
      expect(await read(call, digestOf('mine'))).toEqual(bytes('mine'))
      await expect(infoOf(call, digest)).rejects.toMatchObject(code('NOT_FOUND'))
      expect(await read(owner, digest)).toEqual(data)
    })
  })
}
