import { setTimeout as sleep } from 'node:timers/promises'
import { WriteAction, type WriteContentResponse } from '@flotilla/api/containerd/services/content/v1/content'
import { ContentWriter, refLocked } from '@flotilla/content-client'
import { type Call, hasCode, RpcError, status } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'

/** Bytes that go to the content store in one message. */
const messageSize = 1024 * 1024

export interface IngestRequest {
  readonly ref: string
  /** Bytes. */
  readonly size: number
  /** Unless it is not known before. */
  readonly digest?: string
  readonly labels?: Readonly<Record<string, string>>
  /** The bytes from an offset on, until the signal says that nobody takes them any more. */
  open(offset: number, signal: AbortSignal): AsyncIterable<Uint8Array>
  /** Hears how many bytes are there. */
  moved?(offset: number): void
}

export interface Ingested {
  readonly digest: string
  /** It was there before. */
  readonly existed: boolean
}

/** Milliseconds between attempts at an ingest that another client writes. */
const retryAfter = 100

/**
 * Brings bytes into content. With a digest it goes on where an earlier attempt ended; and while another client writes
 * the same, it waits for that.
 *
 * @throws FAILED_PRECONDITION when the bytes are others than told; nothing of them stays
 */
export async function ingest(deps: TransferDeps, request: IngestRequest, call: Call): Promise<Ingested> {
  for (let again = false; ; again = true) {
    const attempt = { resumed: false }
    try {
      return await write(deps, request, call, attempt)
    } catch (error) {
      if (error instanceof RpcError && error.reason === refLocked) {
        await sleep(retryAfter, undefined, { signal: call.signal })
        continue
      }
      if (!hasCode(error, status.FAILED_PRECONDITION)) throw error
      // Bytes that are wrong now are wrong at the next attempt.
      await deps.content.abort({ ref: request.ref }, call).catch((failure: unknown) => {
        if (!hasCode(failure, status.NOT_FOUND)) throw failure
      })
      if (!attempt.resumed || again) throw error
    }
  }
}

async function write(
  deps: TransferDeps,
  request: IngestRequest,
  call: Call,
  attempt: { resumed: boolean },
): Promise<Ingested> {
  const { ref, size, digest = '', labels = {} } = request
  await using writer = new ContentWriter(deps.content, call)
  let offset: number
  /** Of the bytes that the store has, as each of its answers says. */
  let written = ''
  try {
    ;({ offset, digest: written } = await writer.send({ action: WriteAction.STAT, ref, total: size, expected: digest }))
    // Without a digest nobody knows whose bytes these are; and more than all are not ours.
    if (offset > 0 && (digest === '' || offset > size)) ({ offset, digest: written } = await restart(writer))
    attempt.resumed = offset > 0
    for await (const data of gathered(request.open(offset, AbortSignal.any([call.signal, writer.lost])))) {
      ;({ offset, digest: written } = await writer.send({ action: WriteAction.WRITE, offset, data }))
      request.moved?.(offset)
    }
    const committed = await writer.send({
      action: WriteAction.COMMIT,
      total: size,
      expected: digest,
      offset,
      labels: { ...labels },
    })
    return { digest: committed.digest, existed: false }
  } catch (error) {
    if (!hasCode(error, status.ALREADY_EXISTS)) throw error
    return { digest: digest === '' ? written : digest, existed: true }
  }
}

function restart(writer: ContentWriter): Promise<WriteContentResponse> {
  return writer.send({ action: WriteAction.WRITE, offset: 0, data: Buffer.alloc(0) })
}

/** Pieces large enough that the work for each message does not count. */
async function* gathered(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of source) {
    pieces.push(piece)
    size += piece.length
    if (size < messageSize) continue
    yield Buffer.concat(pieces)
    pieces = []
    size = 0
  }
  if (size > 0) yield Buffer.concat(pieces)
}
