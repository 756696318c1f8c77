import { openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  BlobPiece,
  BlobState,
  type ReadBlobRequest,
  type StatBlobsRequest,
  type StatBlobsResponse,
} from '@flotilla/api/flotilla/peer/v1/peer'
import { errnoOf } from '@flotilla/linux'
import { type AnswerRoom, type Call, notFound, outOfRange } from '@flotilla/rpc'
import { type Digest, parseDigest } from '../digest.ts'
import { filePieces, ownRoom } from '../file-pieces.ts'
import type { OpenIngest } from '../open-ingest.ts'
import type { Store } from '../store.ts'
import { pieceBytes } from './partial-blob.ts'

/** Most bytes in one answer. The reader hears nothing until all of them are there. */
const messageBytes = 256 * 1024
/** Readers served at the same time. Were it all who ask, each would wait so long for a byte that it goes elsewhere. */
export const servedAtOnce = 4
/** Milliseconds after which a reader's turn ends, though it may not be served whole: it may be gone without a word. */
const longestTurn = 5_000
/** Milliseconds between two signs of life to a reader that waits for its turn. */
const signOfLife = 1_000

/** What this node has of some blobs, whole or on their way. */
export async function statForPeers(store: Store, { digests }: StatBlobsRequest): Promise<StatBlobsResponse> {
  const blobs = await Promise.all(
    digests.map(parseDigest).map(async (digest) => {
      const whole = (await store.bytes.size(digest)) !== undefined
      return BlobState.fromPartial({
        digest: digest.text,
        whole,
        pieces: whole ? Buffer.alloc(0) : pieces(store, digest),
      })
    }),
  )
  return { blobs }
}

function pieces(store: Store, digest: Digest): Buffer {
  const partial = store.arrivals.get(digest.text)?.partial
  if (partial !== undefined) return partial.bits()
  const count = Math.floor((ingestOf(store, digest)?.offset ?? 0) / pieceBytes)
  const bits = Buffer.alloc(Math.ceil(count / 8))
  for (let piece = 0; piece < count; piece++) bits[piece >> 3] = (bits[piece >> 3] ?? 0) | (1 << (piece & 7))
  return bits
}

/** An ingest that a client is writing and that is to become this blob. */
function ingestOf(store: Store, digest: Digest): OpenIngest | undefined {
  for (const ingest of store.writers.allSessions()) if (!ingest.adopts && ingest.expected === digest.text) return ingest
  return undefined
}

/** Bytes of a blob for another node, when it is its turn. OUT_OF_RANGE for what has not come yet. */
export async function* readForPeers(store: Store, request: ReadBlobRequest, call: Call): AsyncGenerator<BlobPiece> {
  const turn = store.serving.take(call.signal)
  let limit: NodeJS.Timeout | undefined
  try {
    while ((await Promise.race([turn, sleep(signOfLife, undefined, { ref: false })])) === undefined)
      yield { data: Buffer.alloc(0) }
    const end = await turn
    limit = setTimeout(end, longestTurn).unref()
    yield* pieceForPeers(store, request, call)
  } finally {
    clearTimeout(limit)
    // Also of who left before it was their turn.
    void turn.then(
      (end) => end(),
      () => {},
    )
  }
}

async function* pieceForPeers(store: Store, request: ReadBlobRequest, { rooms }: Call): AsyncGenerator<BlobPiece> {
  const digest = parseDigest(request.digest)
  const { offset } = request
  const { end, path } = await placeOf(store, digest, offset, request.size)
  if (offset === end) return
  const roomFor = (_from: number, rest: number): AnswerRoom<BlobPiece> => {
    const most = Math.min(messageBytes, rest)
    if (rooms !== undefined) return rooms.take(BlobPiece, {}, ['data', 1], most)
    const { data, length } = ownRoom(most)
    return { places: [data], length, answer: { data } }
  }
  const open = () => openPart(path, digest)
  for await (const { answer } of filePieces({ open, digest, start: offset, end }, roomFor)) yield answer
}

function openPart(path: string, digest: Digest): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw errnoOf(error) === 'ENOENT' ? notFound(`content ${digest.text}`) : error
  }
}

async function placeOf(
  store: Store,
  digest: Digest,
  offset: number,
  size: number,
): Promise<{ readonly path: string; readonly end: number }> {
  const whole = await store.bytes.size(digest)
  if (whole !== undefined) {
    if (offset > whole) throw outOfRange(`content ${digest.text} has ${whole} bytes`)
    return { path: store.layout.blob(digest), end: size <= 0 ? whole : Math.min(whole, offset + size) }
  }
  const partial = store.arrivals.get(digest.text)?.partial
  if (partial?.covers(offset, size)) return { path: partial.path, end: offset + size }
  const ingest = ingestOf(store, digest)
  if (ingest !== undefined && offset + size <= ingest.offset) return { path: ingest.file, end: offset + size }
  if (partial !== undefined || ingest !== undefined) throw outOfRange(`content ${digest.text} is still on its way`)
  throw notFound(`content ${digest.text}`)
}
