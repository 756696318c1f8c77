import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { describe, expect, test } from 'vitest'
import { type Bench, bytes, code, digestOf, exactly, nothing } from './bench.ts'

const { STAT, WRITE, COMMIT } = WriteAction

/** Messages of a Write stream and their answers. */
export function writingCases(bench: Bench): void {
  describe('writing', () => {
    const { fresh, novel, writing, send, read, refs, infoOf } = bench
    test('each message gets one answer: its action, the offset and the digest so far', async () => {
      const call = fresh()
      const answers = await send(
        call,
        { action: STAT, ref: 'r', total: 6 },
        { action: WRITE, data: bytes('abc') },
        { action: WRITE, offset: 3, data: bytes('def') },
        { action: STAT },
        { action: COMMIT, offset: 6, total: 6, expected: digestOf('abcdef') },
      )
      expect(answers.map(({ action, offset, digest }) => [action, offset, digest])).toEqual([
        [STAT, 0, nothing],
        [WRITE, 3, digestOf('abc')],
        [WRITE, 6, digestOf('abcdef')],
        [STAT, 6, digestOf('abcdef')],
        [COMMIT, 6, digestOf('abcdef')],
      ])
      expect(answers[0]!.startedAt!.seconds).toBeGreaterThan(1_600_000_000)
      expect(await read(call, digestOf('abcdef'))).toEqual(bytes('abcdef'))
    })

    test('STAT answers the total that the stream has told, not the stored one', async () => {
      const call = fresh()
      expect((await send(call, { ref: 'r', total: 7 }, {})).map(({ total }) => total)).toEqual([7, 7])
      expect((await send(call, { ref: 'r' }))[0]!.total).toBe(0)
    })

    test('one COMMIT may be the whole stream, and a blob may be empty', async () => {
      const call = fresh()
      await send(call, { action: COMMIT, ref: 'empty' })
      expect(await infoOf(call, nothing)).toMatchObject({ digest: nothing, size: 0 })
      expect(await read(call, nothing)).toEqual(Buffer.alloc(0))
    })

    test('a blob of many messages comes back as it was', async () => {
      const call = fresh()
      const data = Buffer.alloc(5_000_001, novel())
      await writing(call, async (writer) => {
        await writer.send({ ref: 'large', total: data.length })
        for (let offset = 0; offset < data.length; offset += 300_000)
          await writer.send({ action: WRITE, offset, data: data.subarray(offset, offset + 300_000) })
        await writer.send({ action: COMMIT, offset: data.length })
      })
      expect((await read(call, digestOf(data))).equals(data)).toBe(true)
    })

    test('another offset than the current one is OUT_OF_RANGE and keeps the ingest', async () => {
      const call = fresh()
      await expect(
        send(call, { action: WRITE, ref: 'r', data: bytes('abc') }, { action: WRITE, offset: 2, data: bytes('x') }),
      ).rejects.toMatchObject(code('OUT_OF_RANGE', /^write @2 must occur at current offset 3/))
      await expect(send(call, { action: COMMIT, ref: 'r', offset: 9 })).rejects.toMatchObject(code('OUT_OF_RANGE'))
      expect((await bench.content.status({ ref: 'r' }, call)).status).toMatchObject({ ref: 'r', offset: 3 })
    })

    test('offset 0 starts the bytes over', async () => {
      const call = fresh()
      const answers = await send(
        call,
        { action: WRITE, ref: 'r', data: bytes('wrong, and longer') },
        { action: WRITE, offset: 0, data: bytes('right') },
        { action: COMMIT, offset: 5 },
      )
      expect(answers.map(({ offset }) => offset)).toEqual([17, 5, 5])
      expect(await read(call, digestOf('right'))).toEqual(bytes('right'))
    })

    test.each([
      ['no ref', { ref: '' }, 'first message must have a reference: invalid argument'],
      ['no digest', { ref: 'r', expected: 'nonsense' }, '"nonsense" failed validation: invalid argument'],
      ['a path', { ref: 'r', expected: 'sha256:../../x' }, '"sha256:../../x" failed validation: invalid argument'],
    ])('a first message with %s is INVALID_ARGUMENT and leaves nothing', async (_, message, text) => {
      const call = fresh()
      await expect(send(call, message)).rejects.toMatchObject(code('INVALID_ARGUMENT', exactly(text)))
      expect(await refs(call)).toEqual([])
    })

    test('a later message with a bad digest is INVALID_ARGUMENT', async () => {
      await expect(send(fresh(), { ref: 'r' }, { action: COMMIT, expected: 'x' })).rejects.toMatchObject(
        code('INVALID_ARGUMENT', exactly('"x" failed validation: invalid argument')),
      )
    })
  })
}
