import {
  WriteAction,
  type WriteContentRequest,
  WriteContentResponse,
} from '@flotilla/api/containerd/services/content/v1/content'
import { alreadyExists, type Call, invalidArgument, outOfRange, requireNamespace } from '@flotilla/rpc'
import { commitIngest } from './commit.ts'
import { type Digest, parseDigest } from './digest.ts'
import { Messages } from './messages.ts'
import type { OpenIngest } from './open-ingest.ts'
import { type Opening, openIngest, openingOf } from './opening.ts'
import { joinExisting, whereIs } from './records.ts'
import type { Store } from './store.ts'
import { sweepIngest } from './sweep.ts'

/** Longest ref in bytes. */
const maxRefBytes = 32_768

export function validateRef(ref: string, whenEmpty: string): void {
  if (ref === '') throw invalidArgument(whenEmpty)
  if (Buffer.byteLength(ref) > maxRefBytes) throw invalidArgument(`ref is longer than ${maxRefBytes} bytes`)
}

/** What a stream remembers from one message to the next. */
interface Told {
  total: number
  expected: Digest | undefined
}

/**
 * Content.Write: one answer for each message, the end after COMMIT. Whatever ends the stream before, the ingest stays
 * with its bytes and the next stream goes on from there.
 */
export async function* write(
  store: Store,
  requests: AsyncIterable<WriteContentRequest>,
  call: Call,
): AsyncGenerator<WriteContentResponse> {
  const signal = AbortSignal.any([call.signal, store.closing])
  const iterator = requests[Symbol.asyncIterator]()
  try {
    using messages = new Messages(iterator, signal)
    const first = await messages.next()
    if (first === undefined) return
    validateRef(first.ref, 'first message must have a reference')
    validateNumbers(first)
    if (first.expected !== '') parseDigest(first.expected)
    const opening = openingOf(requireNamespace(call), first)
    const ingest = await openIngest(store, { ...call, signal }, opening)
    try {
      const told: Told = { total: 0, expected: undefined }
      for (let request: WriteContentRequest | undefined = first; request !== undefined; ) {
        const message = request
        const answered = await ingest.message(() => answer(store, call, ingest, message, told, message === first))
        const committed = message.action === WriteAction.COMMIT
        // The ref is free when the client learns of the commit, not some time later.
        if (committed) await ingest.close()
        yield answered
        if (committed) return
        request = await messages.next()
      }
    } finally {
      await ingest.close()
      if (ingest.isLeft) await forgetIfCollected(store, opening)
    }
  } finally {
    // Not awaited: a source that waits for its client ends only when that does.
    void iterator.return?.()?.catch(() => {})
  }
}

/** What was collected while it was written has no record any more; its bytes need not wait for a sweep. */
async function forgetIfCollected(store: Store, { namespace, ref }: Opening): Promise<void> {
  // Where that cannot be known now, a sweep will find it.
  await sweepIngest(store, { namespace, ref }).catch(() => {})
}

async function answer(
  store: Store,
  call: Call,
  ingest: OpenIngest,
  request: WriteContentRequest,
  told: Told,
  isFirst: boolean,
): Promise<WriteContentResponse> {
  validateNumbers(request)
  if (request.total > 0) told.total = request.total
  if (request.expected !== '') {
    told.expected = parseDigest(request.expected)
    // Opening has looked already.
    if (!isFirst) await refuseIfHere(store, call, ingest, told.expected)
  }
  let committed: Digest | undefined
  switch (request.action) {
    case WriteAction.STAT:
      break
    case WriteAction.WRITE:
      await append(ingest, request)
      break
    case WriteAction.COMMIT:
      await append(ingest, request)
      committed = await commitIngest(store, call, ingest, { ...told, labels: request.labels })
      break
    default:
      throw invalidArgument(`unknown action ${request.action}`)
  }
  return WriteContentResponse.fromPartial({
    action: request.action,
    startedAt: ingest.startedAt,
    updatedAt: ingest.updatedAt,
    offset: ingest.offset,
    total: told.total,
    digest: (committed ?? ingest.digest())?.text ?? '',
  })
}

function validateNumbers(request: WriteContentRequest): void {
  if (request.total < 0) throw invalidArgument(`total ${request.total} is negative`)
}

async function refuseIfHere(store: Store, call: Call, ingest: OpenIngest, digest: Digest): Promise<void> {
  if ((await whereIs(store, ingest.namespace, digest)) !== 'here') return
  if (!(await joinExisting(store, call, ingest.namespace, digest, ingest.ref))) return
  await ingest.finish()
  throw alreadyExists(`blob with expected digest ${digest.text} exists`)
}

async function append(ingest: OpenIngest, request: WriteContentRequest): Promise<void> {
  const { offset, data } = request
  if (offset !== 0 && offset !== ingest.offset)
    throw outOfRange(`write @${offset} must occur at current offset ${ingest.offset}`)
  if (offset === 0 && ingest.offset > 0) await ingest.restart()
  if (data.length > 0) await ingest.append(data)
}
