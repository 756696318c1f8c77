import type { BlobPiece } from '@flotilla/api/flotilla/peer/v1/peer'
import { makeCall } from '@flotilla/rpc'
import { expect, it } from 'vitest'
import { put } from '../testing/blobs.ts'
import { contentNodes } from '../testing/nodes.ts'
import { servedAtOnce } from './for-peers.ts'

const call = makeCall({ namespace: 'ns' })

/** Bytes in the next piece; undefined at the end. */
async function next(reader: AsyncIterator<BlobPiece>): Promise<number | undefined> {
  const { done, value } = await reader.next()
  return done === true ? undefined : value.data.length
}

it('a reader more than are served at once gets signs of life, and bytes when it is its turn', async () => {
  await using nodes = await contentNodes(['one'])
  const size = 3 * 1024 * 1024
  const one = nodes.of('one')
  const digest = await put(one.content, call, Buffer.alloc(size, 'x'))
  const open = (signal?: AbortSignal) =>
    one.forPeers
      .read({ digest, offset: 0, size }, makeCall(signal === undefined ? {} : { signal }))
      [Symbol.asyncIterator]()
  const served = Array.from({ length: servedAtOnce }, () => open())
  for (const reader of served) expect(await next(reader)).toBeGreaterThan(0)

  const leaving = new AbortController()
  const left = open(leaving.signal)
  const waiting = open()
  const early = await Promise.all([next(left), next(waiting)])
  expect(early).toEqual([0, 0])
  leaving.abort(new Error('it left'))
  await expect(next(left)).rejects.toThrow('it left')

  // One place is free now, and who left does not take it.
  await served[0]?.return?.()
  let came = 0
  for (let bytes = await next(waiting); bytes !== undefined; bytes = await next(waiting)) came += bytes
  expect(came).toBe(size)
  for (const reader of served) await reader.return?.()
})

it('one that takes its time loses its turn, and nothing else', async () => {
  await using nodes = await contentNodes(['one'])
  const size = 3 * 1024 * 1024
  const one = nodes.of('one')
  const digest = await put(one.content, call, Buffer.alloc(size, 'x'))
  const open = () => one.forPeers.read({ digest, offset: 0, size }, call)[Symbol.asyncIterator]()
  const slow = Array.from({ length: servedAtOnce }, open)
  for (const reader of slow) expect(await next(reader)).toBeGreaterThan(0)

  const other = open()
  let bytes = await next(other)
  while (bytes === 0) bytes = await next(other)
  expect(bytes).toBeGreaterThan(0)
  await other.return?.()
  for (const reader of slow) {
    expect(await next(reader)).toBeGreaterThan(0)
    await reader.return?.()
  }
}, 30_000)
