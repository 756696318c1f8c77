import { createHash, type Hash } from 'node:crypto'
import { closeSync, openSync, read as readCallback } from 'node:fs'
import { promisify } from 'node:util'
import { dataLoss } from '@flotilla/rpc'
import { type Algorithm, type Digest, digestOf } from './digest.ts'

/** Bytes read at a time: about a millisecond of hashing, so other calls get their turn in between. */
const pieceBytes = 2 * 1024 * 1024

const readAt = promisify(readCallback)

/** Feeds the first `length` bytes of an open file to a hash, reading one piece while it hashes the one before. */
export async function hashFile(fd: number, length: number, hash: Hash, signal: AbortSignal): Promise<void> {
  if (length === 0) return
  const size = Math.min(pieceBytes, length)
  const buffers = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)] as const
  const read = (turn: number, position: number) =>
    readAt(fd, buffers[turn % 2 === 0 ? 0 : 1], 0, Math.min(size, length - position), position)
  let position = 0
  let pending = read(0, 0)
  for (let turn = 0; position < length; turn++) {
    const { bytesRead, buffer } = await pending
    signal.throwIfAborted()
    if (bytesRead === 0) throw dataLoss(`file ends at ${position} of ${length} bytes`)
    position += bytesRead
    if (position < length) pending = read(turn + 1, position)
    hash.update(buffer.subarray(0, bytesRead))
  }
}

export async function hashBlob(path: string, size: number, algorithm: Algorithm, signal: AbortSignal): Promise<Digest> {
  const fd = openSync(path, 'r')
  try {
    const hash = createHash(algorithm)
    await hashFile(fd, size, hash, signal)
    return digestOf(algorithm, hash.digest('hex'))
  } finally {
    closeSync(fd)
  }
}
