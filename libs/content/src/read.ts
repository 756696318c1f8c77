import { closeSync, openSync, read as readCallback } from 'node:fs'
import { promisify } from 'node:util'
import type {
  Info,
  ReadContentRequest,
  ReadContentResponse,
} from '@flotilla/api/containerd/services/content/v1/content'
import { type Call, dataLoss, hasCode, notFound, outOfRange, requireNamespace, status } from '@flotilla/rpc'
import { type Digest, parseDigest } from './digest.ts'
import { bring } from './peers/bring.ts'
import { contentNotFound, contentRecord } from './records.ts'
import type { Store } from './store.ts'

/** Most bytes in one answer. */
const messageBytes = 1024 * 1024

const readAt = promisify(readCallback)

/** Content.Read: the bytes of a blob, or a part of them; while one answer goes out the next one is read. */
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

  const fd = await openOrBring(store, requireNamespace(call), record, call)
  let pending = readPiece(fd, digest, start, end)
  try {
    for (let at = start; at < end; ) {
      const data = await pending
      const offset = at - start
      at += data.length
      if (at < end) {
        pending = readPiece(fd, digest, at, end)
        // Its failure is told when its turn comes, which may be never.
        pending.catch(() => {})
      }
      yield { offset, data }
    }
  } finally {
    // Closing under a read would let it end in a file that got the same number meanwhile.
    await pending.catch(() => {})
    closeSync(fd)
  }
}

async function openOrBring(store: Store, namespace: string, record: Info, call: Call): Promise<number> {
  const digest = parseDigest(record.digest)
  try {
    return openBlob(store, digest)
  } catch (error) {
    if (!hasCode(error, status.NOT_FOUND) || store.peers === undefined) throw error
    await bring(store, namespace, record, call)
    return openBlob(store, digest)
  }
}

// Synchronous: opening a local file takes 2 µs, through the thread pool 16. Go's reader does it for each 32 KiB.
function openBlob(store: Store, digest: Digest): number {
  try {
    return openSync(store.layout.blob(digest), 'r')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      throw notFound(`content ${digest.text} has no bytes on node ${store.node}`, { cause: error })
    throw error
  }
}

async function readPiece(fd: number, digest: Digest, at: number, end: number): Promise<Buffer> {
  const data = Buffer.allocUnsafe(Math.min(messageBytes, end - at))
  const { bytesRead } = await readAt(fd, data, 0, data.length, at)
  if (bytesRead === 0) throw dataLoss(`content ${digest.text} ends at ${at} bytes, too early`)
  return bytesRead === data.length ? data : data.subarray(0, bytesRead)
}
