import { makeCall } from '@flotilla/rpc'
import { describe, expect, test } from 'vitest'
import { type Bench, code, exactly, nothing } from './bench.ts'

/** What a namespace says of a digest. */
export function recordsCases(bench: Bench): void {
  describe('records', () => {
    const { fresh, novel, send, put, read, list, infoOf } = bench
    test('are a matter of each namespace', async () => {
      const call = fresh()
      const digest = await put(call, novel())
      const other = fresh()
      const missing = code('NOT_FOUND', exactly(`content digest ${digest}: not found`))
      await expect(bench.content.info({ digest }, other)).rejects.toMatchObject(missing)
      await expect(read(other, digest)).rejects.toMatchObject(missing)
      await expect(bench.content.delete({ digest }, other)).rejects.toMatchObject(missing)
      await expect(bench.content.update({ info: { ...(await infoOf(call, digest))! }, updateMask: [] }, other))
        .rejects //
        .toMatchObject(missing)
      expect(await list(other)).toEqual([])
    })

    test('go with Delete, once, with an event', async () => {
      const call = fresh()
      const digest = await put(call, novel())
      await bench.content.delete({ digest }, call)
      await expect(bench.content.delete({ digest }, call)).rejects.toMatchObject(code('NOT_FOUND'))
      await expect(infoOf(call, digest)).rejects.toMatchObject(code('NOT_FOUND'))
      expect(await bench.store.topics(call.namespace!)).toEqual(['/content/create', '/content/delete'])
    })

    test('are updated as the mask says', async () => {
      const call = fresh()
      const data = novel()
      const digest = await put(call, data, { a: '1', 'b.c/d': '2' })
      const update = async (labels: Record<string, string>, ...updateMask: string[]) => {
        const info = { digest, size: 99, createdAt: undefined, updatedAt: undefined, labels }
        return (await bench.content.update({ info, updateMask }, call)).info!
      }
      expect((await update({ 'b.c/d': '3', x: 'ignored' }, 'labels.b.c/d')).labels).toEqual({ a: '1', 'b.c/d': '3' })
      expect((await update({}, 'labels.a')).labels).toEqual({ 'b.c/d': '3' })
      expect((await update({ e: '4', none: '' }, 'labels')).labels).toEqual({ e: '4' })
      const before = await infoOf(call, digest)
      const after = await update({ f: '5' })
      expect(after).toMatchObject({ digest, size: data.length, labels: { f: '5' }, createdAt: before!.createdAt })
      expect(after.updatedAt).not.toEqual(before!.updatedAt)
      expect(await infoOf(call, digest)).toEqual(after)
      await expect(update({ g: '6' }, 'labels.g', 'size')).rejects.toMatchObject(
        code('INVALID_ARGUMENT', exactly(`cannot update "size" field on content info "${digest}": invalid argument`)),
      )
      await expect(update({ g: 'v'.repeat(4096) }, 'labels.g')).rejects.toMatchObject(
        code('INVALID_ARGUMENT', /^info\.Labels: /),
      )
      expect(await infoOf(call, digest)).toEqual(after)
    })

    test('lose no label when many are set at once', async () => {
      const call = fresh()
      const digest = await put(call, novel())
      const keys = Array.from({ length: 30 }, (_, i) => `k${i}`)
      await Promise.all(
        keys.map((key) => {
          const info = { digest, size: 0, createdAt: undefined, updatedAt: undefined, labels: { [key]: 'v' } }
          return bench.content.update({ info, updateMask: [`labels.${key}`] }, call)
        }),
      )
      expect(Object.keys((await infoOf(call, digest))!.labels).sort()).toEqual([...keys].sort())
    })

    test('are listed in order of digest, in groups of a hundred, by filters', async () => {
      const call = fresh()
      const digests = await Promise.all(
        Array.from({ length: 205 }, (_, i) => put(call, novel(), i % 2 === 0 ? { 'io.x/even': String(i) } : {})),
      )
      const groups = await list(call)
      expect(groups.map((group) => group.length)).toEqual([100, 100, 5])
      expect(groups.flat().map(({ digest }) => digest)).toEqual([...digests].sort())
      expect((await list(call, 'labels."io.x/even"')).flat()).toHaveLength(103)
      expect((await list(call, `digest==${digests[7]}`, 'labels."io.x/even"==4')).flat()).toHaveLength(2)
      await expect(list(call, 'digest=')).rejects.toMatchObject(code('INVALID_ARGUMENT', /^filters: parse error/))
    })

    test.each([
      ['', 'invalid checksum digest format'],
      ['sha256', 'invalid checksum digest format'],
      ['sha256:', 'invalid checksum digest format'],
      ['sha256:abc', 'invalid checksum digest length'],
      [`sha256:${'G'.repeat(64)}`, 'invalid checksum digest format'],
      [`sha256:${'A'.repeat(64)}`, 'invalid checksum digest format'],
      ['md5:d41d8cd98f00b204e9800998ecf8427e', 'unsupported digest algorithm'],
    ])('of digest "%s" cannot be', async (digest, fault) => {
      const call = fresh()
      const failed = code('INVALID_ARGUMENT', exactly(`"${digest}" failed validation: invalid argument`))
      await expect(bench.content.info({ digest }, call)).rejects.toMatchObject(failed)
      await expect(bench.content.update({ info: undefined, updateMask: undefined }, call)).rejects.toMatchObject(
        code('INVALID_ARGUMENT'),
      )
      await expect(read(call, digest)).rejects.toMatchObject(code('INVALID_ARGUMENT'))
      await expect(bench.content.delete({ digest }, call)).rejects.toMatchObject(
        code('INVALID_ARGUMENT', exactly(`${fault}: invalid argument`)),
      )
    })

    test('need a namespace', async () => {
      const without = makeCall()
      const missing = code('FAILED_PRECONDITION', exactly('namespace is required: failed precondition'))
      await expect(bench.content.info({ digest: nothing }, without)).rejects.toMatchObject(missing)
      await expect(list(without)).rejects.toMatchObject(missing)
      await expect(read(without, nothing)).rejects.toMatchObject(missing)
      await expect(send(without, { ref: 'r' })).rejects.toMatchObject(missing)
      await expect(bench.content.status({ ref: 'r' }, without)).rejects.toMatchObject(missing)
      await expect(bench.content.listStatuses({ filters: [] }, without)).rejects.toMatchObject(missing)
      await expect(bench.content.abort({ ref: 'r' }, without)).rejects.toMatchObject(missing)
      await expect(bench.content.delete({ digest: nothing }, without)).rejects.toMatchObject(missing)
      await expect(list(makeCall({ namespace: '-' }))).rejects.toMatchObject(
        code('INVALID_ARGUMENT', /^namespace validation: identifier "-" must match /),
      )
    })
  })
}
