import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { describe, expect, test } from 'vitest'
import { type Bench, bytes, code, digestOf, exactly } from './bench.ts'

const { COMMIT } = WriteAction

/** How bytes become content. */
export function committingCases(bench: Bench): void {
  describe('committing', () => {
    const { fresh, novel, writing, send, put, read, refs, infoOf } = bench
    test('makes a record with size, times and the labels of the COMMIT, and one event', async () => {
      const call = fresh()
      const data = novel()
      await send(
        call,
        { ref: 'r', labels: { early: 'dropped' } },
        { action: COMMIT, data, labels: { 'a.b/c': 'v', none: '' } },
      )
      const record = await infoOf(call, digestOf(data))
      expect(record).toMatchObject({ digest: digestOf(data), size: data.length, labels: { 'a.b/c': 'v' } })
      expect(record!.labels).toEqual({ 'a.b/c': 'v' })
      expect(record!.createdAt).toEqual(record!.updatedAt)
      expect(await bench.store.topics(call.namespace!)).toEqual(['/content/create'])
      expect(await refs(call)).toEqual([])
    })

    test('refuses another size than was told, and the ingest can be completed', async () => {
      const call = fresh()
      await expect(
        send(call, { ref: 'r', total: 6 }, { action: COMMIT, total: 6, data: bytes('abc') }),
      ).rejects.toMatchObject(
        code('FAILED_PRECONDITION', exactly('"r" failed size validation: 3 != 6: failed precondition')),
      )
      await send(call, { ref: 'r', total: 6 }, { action: COMMIT, offset: 3, total: 6, data: bytes('def') })
      expect(await read(call, digestOf('abcdef'))).toEqual(bytes('abcdef'))
    })

    test('refuses another digest than was expected, until the bytes are started over', async () => {
      const call = fresh()
      const want = digestOf('right')
      const message = exactly(`unexpected commit digest ${digestOf('wrong')}, expected ${want}: failed precondition`)
      await expect(
        send(call, { ref: 'r', expected: want }, { action: COMMIT, data: bytes('wrong'), expected: want }),
      ).rejects.toMatchObject(code('FAILED_PRECONDITION', message))
      await expect(send(call, { ref: 'r' }, { action: COMMIT, offset: 5, expected: want })).rejects.toMatchObject(
        code('FAILED_PRECONDITION', message),
      )
      await expect(infoOf(call, digestOf('wrong'))).rejects.toMatchObject(code('NOT_FOUND'))
      await send(call, { ref: 'r' }, { action: COMMIT, offset: 0, data: bytes('right'), expected: want })
      expect(await read(call, want)).toEqual(bytes('right'))
    })

    test('refuses a label over 4096 bytes, and the ingest stays', async () => {
      const call = fresh()
      const labels = { k: 'v'.repeat(4096) }
      await expect(send(call, { ref: 'r', action: COMMIT, data: bytes('abc'), labels })).rejects.toMatchObject(
        code('INVALID_ARGUMENT', /^info\.Labels: label key and value length \(4097 bytes\) greater than maximum size/),
      )
      expect(await refs(call)).toEqual(['r'])
    })

    test.each(['sha384', 'sha512'])('stores under a %s digest when that is expected', async (algorithm) => {
      const call = fresh()
      const data = novel()
      const digest = digestOf(data, algorithm)
      await send(call, { ref: 'told early', expected: digest }, { action: COMMIT, data, expected: digest })
      expect(await read(call, digest)).toEqual(data)
      const late = fresh()
      await send(late, { ref: 'told late' }, { action: COMMIT, data, expected: digest })
      expect(await read(late, digest)).toEqual(data)
      await expect(infoOf(call, digestOf(data))).rejects.toMatchObject(code('NOT_FOUND'))
    })

    test('of a digest that is there is ALREADY_EXISTS, ends the ingest and leaves the labels', async () => {
      const call = fresh()
      const data = novel()
      const digest = await put(call, data, { first: 'yes' })
      await expect(
        send(call, { ref: 'again' }, { action: COMMIT, data, labels: { second: 'yes' } }),
      ).rejects.toMatchObject(code('ALREADY_EXISTS', exactly(`content ${digest}: already exists`)))
      expect(await refs(call)).toEqual([])
      expect((await infoOf(call, digest))!.labels).toEqual({ first: 'yes' })
      expect(await bench.store.topics(call.namespace!)).toEqual(['/content/create'])
    })

    test('is ALREADY_EXISTS at once when the expected digest is there', async () => {
      const call = fresh()
      const data = novel()
      const digest = digestOf(data)
      await writing(call, async (slow) => {
        await slow.send({ ref: 'slow' })
        await put(call, data)
        await expect(send(call, { ref: 'new', expected: digest })).rejects.toMatchObject(
          code('ALREADY_EXISTS', exactly(`content ${digest}: already exists`)),
        )
        await expect(slow.send({ expected: digest })).rejects.toMatchObject(
          code('ALREADY_EXISTS', exactly(`blob with expected digest ${digest} exists: already exists`)),
        )
      })
      expect(await refs(call)).toEqual([])
    })

    test('of one digest by many at once makes one record, and all others ALREADY_EXISTS', async () => {
      const call = fresh()
      const data = novel()
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) => send(call, { ref: `r${i}` }, { action: COMMIT, data })),
      )
      const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
      expect(failures).toHaveLength(19)
      for (const failure of failures) expect(failure).toMatchObject(code('ALREADY_EXISTS'))
      expect(await read(call, digestOf(data))).toEqual(data)
      expect(await refs(call)).toEqual([])
    })
  })
}
