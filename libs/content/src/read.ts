import { type ReadContentRequest, ReadContentResponse } from '@flotilla/api/containerd/services/content/v1/content'
import { type Call, hasCode, outOfRange, requireNamespace, status } from '@flotilla/rpc'
import { parseDigest } from './digest.ts'
import { bring } from './peers/bring.ts'
import { contentNotFound, contentRecord } from './records.ts'
import type { Store } from './store.ts'

/** Content.Read: the bytes of a blob, or a part of them. */
export async function* read(
  store: Store,
  request: ReadContentRequest,
  call: Call,
): AsyncGenerator<ReadContentResponse> {
  const digest = parseDigest(request.digest)
  const record = await contentRecord(store, requireNamespace(call), digest)
  if (record === undefined) throw contentNotFound(digest)
  const { size } = record
  const start = Math.max(request.offset, 0)
  if (start > size) throw outOfRange(`read past object length ${size} bytes`)
  const end = request.size <= 0 || start + request.size > size ? size : start + request.size
  if (start === end) return

  let at = start
  const pieces = async function* () {
    const { rooms } = call
    if (rooms !== undefined && store.bytes.readInto !== undefined) {
      const roomFor = (from: number, most: number) =>
        rooms.take(ReadContentResponse, { offset: from - start }, ['data', 2], most)
      for await (const { answer, length } of store.bytes.readInto(digest, start, end, roomFor)) {
        yield answer
        at += length
      }
      return
    }
    for await (const data of store.bytes.read(digest, start, end, call.signal)) {
      yield { offset: at - start, data }
      at += data.length
    }
  }
  try {
    yield* pieces()
  } catch (error) {
    if (!hasCode(error, status.NOT_FOUND) || store.peers === undefined || at > start) throw error
    await bring(store, requireNamespace(call), record, call)
    yield* pieces()
  }
}
