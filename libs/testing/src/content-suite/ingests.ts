import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { refLocked } from '@flotilla/content-client'
import { status } from '@flotilla/rpc'
import { describe, expect, test } from 'vitest'
import { contentWriter } from '../content-writer.ts'
import { type Bench, bytes, code, digestOf, exactly, nothing } from './bench.ts'

const { WRITE, COMMIT } = WriteAction

/** What is there between the first message and the COMMIT. */
export function ingestsCases(bench: Bench): void {
  describe('ingests', () => {
    const { fresh, novel, writing, send, refs, infoOf } = bench
    test('outlive their stream and are resumed where they were', async () => {
      const call = fresh()
      const [, before] = await send(call, { ref: 'r', total: 6 }, { action: WRITE, data: bytes('abc') })
      const after = await send(
        call,
        { ref: 'r', total: 6 },
        { action: WRITE, offset: 3, data: bytes('def') },
        { action: COMMIT, offset: 6 },
      )
      expect(after.map(({ offset, digest }) => [offset, digest])).toEqual([
        [3, digestOf('abc')],
        [6, digestOf('abcdef')],
        [6, digestOf('abcdef')],
      ])
      expect(after[0]!.startedAt).toEqual(before!.startedAt)
    })

    test('start over when they are opened with another total', async () => {
      const call = fresh()
      await send(call, { ref: 'r', total: 6 }, { action: WRITE, data: bytes('abc') })
      expect((await send(call, { ref: 'r', total: 9 }))[0]).toMatchObject({ offset: 0, digest: nothing })
      expect((await bench.content.status({ ref: 'r' }, call)).status).toMatchObject({ offset: 0, total: 9 })
    })

    test('have one writer at a time; a second one is UNAVAILABLE until the first has gone', async () => {
      const call = fresh()
      await writing(call, async (first) => {
        await first.send({ ref: 'a ref' })
        await expect(send(call, { ref: 'a ref' })).rejects.toMatchObject({
          ...code('UNAVAILABLE', /^ref a ref locked for .+ \(since .+\): unavailable$/),
          reason: refLocked,
        })
        await send(call, { ref: 'another ref' })
        await send(fresh(), { ref: 'a ref' })
      })
      await send(call, { ref: 'a ref' })
    })

    test('are given back when the call is cancelled', async () => {
      const call = fresh()
      const cancel = new AbortController()
      const writer = contentWriter(bench.content, { ...call, signal: cancel.signal })
      await writer.send({ ref: 'r', action: WRITE, data: bytes('abc') })
      const waiting = writer.send({}).then(() => writer.send({}))
      cancel.abort()
      await waiting.catch(() => {})
      // Giving back takes a moment; clients try again on UNAVAILABLE.
      for (let left = 500; ; left--) {
        const answer = await send(call, { ref: 'r' }).catch((error: unknown) => error)
        if (!(answer instanceof Error)) break
        if (left === 0) throw answer
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      expect((await bench.content.status({ ref: 'r' }, call)).status).toMatchObject({ offset: 3 })
    })

    test('have a status, open or not, in their namespace only', async () => {
      const call = fresh()
      const wanted = { ref: 'r', offset: 3, total: 6, expected: '' }
      await writing(call, async (writer) => {
        await writer.send({ ref: 'r', total: 6 })
        await writer.send({ action: WRITE, data: bytes('abc') })
        expect((await bench.content.status({ ref: 'r' }, call)).status).toMatchObject(wanted)
      })
      const { status: found } = await bench.content.status({ ref: 'r' }, call)
      expect(found).toMatchObject(wanted)
      expect(found!.updatedAt!.seconds).toBeGreaterThanOrEqual(found!.startedAt!.seconds)
      await expect(bench.content.status({ ref: 'r' }, fresh())).rejects.toMatchObject(
        code('NOT_FOUND', exactly('could not get status for ref "r": reference r: not found')),
      )
    })

    test('are listed by filters on ref', async () => {
      const call = fresh()
      for (const ref of ['layer-a', 'layer-b', 'manifest']) await send(call, { ref })
      expect(await refs(call)).toEqual(['layer-a', 'layer-b', 'manifest'])
      expect(await refs(call, '')).toHaveLength(3)
      expect(await refs(call, 'ref~=^layer')).toEqual(['layer-a', 'layer-b'])
      expect(await refs(call, 'ref==manifest', 'ref==layer-a')).toEqual(['layer-a', 'manifest'])
      await expect(refs(call, 'ref==')).rejects.toMatchObject(code('INVALID_ARGUMENT'))
      expect(await refs(fresh())).toEqual([])
    })

    test('go with Abort, and a new one begins at nothing', async () => {
      const call = fresh()
      await send(call, { ref: 'r', action: WRITE, data: bytes('abc') })
      await bench.content.abort({ ref: 'r' }, call)
      await expect(bench.content.abort({ ref: 'r' }, call)).rejects.toMatchObject(
        code('NOT_FOUND', exactly('reference r: not found')),
      )
      await expect(bench.content.status({ ref: 'r' }, call)).rejects.toMatchObject(code('NOT_FOUND'))
      expect((await send(call, { ref: 'r' }))[0]).toMatchObject({ offset: 0, digest: nothing })
    })

    test('go with Abort under the hands of their writer, whose COMMIT then makes nothing', async () => {
      const call = fresh()
      const data = novel()
      await writing(call, async (old) => {
        await old.send({ ref: 'r', action: WRITE, data })
        await bench.content.abort({ ref: 'r' }, call)
        await writing(call, async (successor) => {
          expect(await successor.send({ ref: 'r' })).toMatchObject({ offset: 0 })
          await expect(old.send({ action: COMMIT, offset: data.length })).rejects.toMatchObject({
            code: expect.toSatisfy((value) => value === status.ABORTED || value === status.NOT_FOUND),
            message: expect.not.stringContaining('/'),
          })
          await successor.send({ action: WRITE, data: bytes('new') })
        })
      })
      await expect(infoOf(call, digestOf(data))).rejects.toMatchObject(code('NOT_FOUND'))
      expect((await bench.content.status({ ref: 'r' }, call)).status).toMatchObject({ offset: 3 })
    })

    test('may have any text as ref', async () => {
      const call = fresh()
      const odd = ['../../../etc/passwd', 'a/b', ' ', 'ü\n', '.', 'x'.repeat(4_000)]
      for (const ref of odd) await send(call, { ref, action: WRITE, data: bytes(ref) })
      expect(await refs(call)).toEqual([...odd].sort())
      for (const ref of odd)
        expect((await bench.content.status({ ref }, call)).status).toMatchObject({
          ref,
          offset: Buffer.byteLength(ref),
        })
    })
  })
}
