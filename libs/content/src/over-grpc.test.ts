import { randomBytes } from 'node:crypto'
import { truncate } from 'node:fs/promises'
import {
  ContentDefinition,
  WriteAction,
  WriteContentRequest,
} from '@flotilla/api/containerd/services/content/v1/content'
import { clientOf, connect, createRpcServer, makeCall, status } from '@flotilla/rpc'
import { expect, onTestFinished, test } from 'vitest'
import { digestOf, storeDirectory } from './testing/blobs.ts'
import { contentWorld } from './testing/world.ts'

const KiB = 1024
const call = makeCall({ namespace: 'n' })

/** A content store behind a server, and its client. */
async function served() {
  const world = await contentWorld()
  const store = await world.open()
  const server = createRpcServer()
  server.add(ContentDefinition, store.content)
  const channel = connect(await server.listen(`unix://${world.world.join('a.sock')}`))
  onTestFinished(async () => {
    channel.close()
    await server.close(100)
    await store[Symbol.asyncDispose]()
    await world[Symbol.asyncDispose]()
  })
  return { content: clientOf(ContentDefinition, channel), root: world.root }
}

type Content = Awaited<ReturnType<typeof served>>['content']

/** Writes messages of these sizes, each after the answer to the one before, and commits. */
async function put(content: Content, sizes: readonly number[]): Promise<{ readonly digest: string; blob: Buffer }> {
  const pieces = sizes.map((size) => randomBytes(size))
  const blob = Buffer.concat(pieces)
  const digest = digestOf(blob)
  const turns = pieces.map(() => Promise.withResolvers<void>())
  const messages = async function* () {
    let offset = 0
    for (const [index, data] of pieces.entries()) {
      yield WriteContentRequest.fromPartial({ ref: digest, action: WriteAction.WRITE, offset, data })
      offset += data.length
      await turns[index]?.promise
    }
    yield WriteContentRequest.fromPartial({ ref: digest, action: WriteAction.COMMIT, offset, expected: digest })
  }
  let [answers, offset] = [0, 0]
  for await (const answer of content.write(messages(), call)) {
    offset += sizes[answers] ?? 0
    expect([answer.offset, answer.digest]).toEqual([offset, digestOf(blob.subarray(0, offset))])
    turns[answers++]?.resolve()
  }
  return { digest, blob }
}

async function get(content: Content, digest: string, offset: number, size: number): Promise<Buffer> {
  const pieces: Buffer[] = []
  let at = 0
  for await (const answer of content.read({ digest, offset, size }, call)) {
    expect(answer.offset).toBe(at)
    at += answer.data.length
    pieces.push(answer.data)
  }
  return Buffer.concat(pieces)
}

test('messages of any size become a blob, of which any part is read', async () => {
  const { content } = await served()
  const sizes = [1, 32 * KiB, 32 * KiB, 64 * KiB, 64 * KiB + 1, 1024 * KiB, 7, 3000 * KiB, 32 * KiB]
  const { blob, digest } = await put(content, sizes)
  const parts = [
    [0, 0],
    [0, 1],
    [1, 32 * KiB],
    [5, 64 * KiB],
    [5, 64 * KiB + 1],
    [100, 1024 * KiB],
    [blob.length - 1, 0],
    [blob.length - 32 * KiB, 64 * KiB],
  ] as const
  const read = async (offset: number, size: number) => {
    const end = size === 0 ? blob.length : Math.min(blob.length, offset + size)
    expect(digestOf(await get(content, digest, offset, size))).toBe(digestOf(blob.subarray(offset, end)))
  }
  for (const [offset, size] of parts) await read(offset, size)
  await Promise.all([...parts, ...parts].map(([offset, size]) => read(offset, size)))
})

test('a read that is given up does not spoil those beside it', async () => {
  const { content } = await served()
  const { blob, digest } = await put(content, [4000 * KiB])
  for (let time = 0; time < 10; time++) {
    const whole = get(content, digest, 0, 0)
    for await (const { data } of content.read({ digest, offset: 1, size: 0 }, call)) {
      expect(data.equals(blob.subarray(1, 1 + data.length))).toBe(true)
      break
    }
    expect(digestOf(await whole)).toBe(digest)
  }
})

test.each([100 * KiB, 2500 * KiB])('a file that was cut short at %i bytes is DATA_LOSS', async (left) => {
  const { content, root } = await served()
  const { digest } = await put(content, [3000 * KiB])
  await truncate(storeDirectory(root, 'blobs', 'sha256', digest.slice('sha256:'.length)), left)
  await expect(get(content, digest, 0, 0)).rejects.toMatchObject({ code: status.DATA_LOSS })
  await expect(get(content, digest, 2900 * KiB, 32 * KiB)).rejects.toMatchObject({ code: status.DATA_LOSS })
})
