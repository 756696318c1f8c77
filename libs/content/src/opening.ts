import { callerHeader } from '@flotilla/access'
import type { WriteContentRequest } from '@flotilla/api/containerd/services/content/v1/content'
import { Ingest } from '@flotilla/api/flotilla/metadata/v1/records'
import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import { encode, now, tables } from '@flotilla/metadata'
import { alreadyExists, type Call } from '@flotilla/rpc'
import { adoptableSize } from './adoptable.ts'
import { type Digest, parseDigest } from './digest.ts'
import { OpenIngest } from './open-ingest.ts'
import { bringToAdopt } from './peers/bring.ts'
import { unlessWrittenElsewhere } from './peers/elsewhere.ts'
import { isReachable } from './peers/reachable.ts'
import { ingestResource, joinExisting, leaseOf, whereIs } from './records.ts'
import type { SharingPolicy, Store } from './store.ts'
import type { WriterPlace } from './writers.ts'

/** Seconds that an ingest outlives its last opening when no lease holds it. */
const lifetime = 24 * 60 * 60

/** What the first message of a Write stream asks for. */
export interface Opening {
  readonly namespace: string
  readonly ref: string
  /** 0 when unsaid. */
  readonly total: number
  readonly expected: Digest | undefined
}

export const openingOf = (namespace: string, request: WriteContentRequest): Opening => ({
  namespace,
  ref: request.ref,
  total: request.total,
  expected: request.expected === '' ? undefined : parseDigest(request.expected),
})

/**
 * Opens an ingest for its one writer: makes it, resumes it or starts it over.
 *
 * @throws ALREADY_EXISTS when the expected digest is content here (the lease holds it then), UNAVAILABLE while another
 * writer has the ingest, NOT_FOUND for a lease that there is not.
 */
export async function openIngest(store: Store, call: Call, opening: Opening): Promise<OpenIngest> {
  const { namespace, ref, expected } = opening
  for (;;) {
    const where = expected === undefined ? 'nowhere' : await whereIs(store, namespace, expected)
    if (expected !== undefined && where === 'here') {
      if (await joinExisting(store, call, namespace, expected)) throw alreadyExists(`content ${expected.text}`)
      continue
    }
    if (expected !== undefined && where === 'on another node' && (await isReachable(store, expected))) {
      if (await joinExisting(store, call, namespace, expected)) throw alreadyExists(`content ${expected.text}`)
      continue
    }
    const seen = await unlessWrittenElsewhere(store, opening, call)
    if (expected !== undefined && where === 'nowhere' && policyFor(store, call) === 'shared')
      await bringToAdopt(store, expected, opening.total, call)
    const place = await store.writers.take(namespace, ref)
    try {
      // A record whose bytes are on another node does not keep anybody from bringing them to this one.
      const opened = await begin(store, call, opening, place, seen, where === 'nowhere')
      if (opened !== undefined) {
        place.opened(opened)
        return opened
      }
    } catch (error) {
      place.release()
      throw error
    }
    // Another committed the expected content in between, or opened the ingest on another node.
    place.release()
  }
}

/** For callers over the network knowing a digest is no right to its bytes. */
const policyFor = (store: Store, call: Call): SharingPolicy =>
  call.metadata.has(callerHeader) ? 'isolated' : store.policy()

async function begin(
  store: Store,
  call: Call,
  opening: Opening,
  place: WriterPlace,
  knownBytes: Buffer | undefined,
  unlessCommitted: boolean,
): Promise<OpenIngest | undefined> {
  const { namespace, ref, total, expected } = opening
  // Held until the record is written, so that no sweep takes a blob that is being adopted.
  using _ = expected === undefined ? undefined : await store.digests.share(expected.text)
  const [stored, adoptable] = await Promise.all([
    store.bytes.ingest(opening),
    expected === undefined ? undefined : adoptableSize(store, expected, total, policyFor(store, call)),
  ])
  const known = knownBytes === undefined ? undefined : Ingest.decode(knownBytes)
  const adopted = expected === undefined || adoptable === undefined ? undefined : { digest: expected, size: adoptable }
  const otherTotal = stored !== undefined && total > 0 && stored.total > 0 && total !== stored.total
  const isOurs = known?.node === store.node
  const resumed = !isOurs || otherTotal || adopted !== undefined ? undefined : stored
  const startedAt = (resumed && known?.startedAt) ?? now()
  const record = Ingest.fromPartial({
    ref,
    node: store.node,
    startedAt,
    ...expiry(known, call.lease),
    adopts: adopted?.digest.text ?? '',
  })

  const fresh = adopted === undefined && resumed === undefined
  if (fresh) await store.bytes.create({ namespace, ref, startedAt, total })
  if (adopted !== undefined) store.adoptions.add(adopted.digest.text, namespace, ref)
  let recorded = false
  try {
    recorded = await writeRecord(store, call, opening, record, knownBytes, unlessCommitted)
  } finally {
    if (!recorded) {
      if (fresh && known === undefined) await store.bytes.discard(opening)
      if (adopted !== undefined && known?.adopts !== adopted.digest.text)
        store.adoptions.remove(adopted.digest.text, namespace, ref)
    }
  }
  if (!recorded) return undefined
  if (known !== undefined && known.adopts !== record.adopts) store.adoptions.remove(known.adopts, namespace, ref)
  if (adopted !== undefined && stored !== undefined) await store.bytes.discard(opening)

  const algorithm = expected?.algorithm ?? 'sha256'
  return new OpenIngest({
    store,
    place,
    namespace,
    record,
    total: resumed?.total ?? total,
    algorithm,
    expected: expected?.text,
    startedAt,
    updatedAt: resumed?.updatedAt ?? startedAt,
    bytes: adopted ?? (await store.bytes.open(opening, algorithm, call.signal)),
  })
}

/** Whether the record was written; not when the expected content or another writer turned up meanwhile. */
async function writeRecord(
  store: Store,
  call: Call,
  opening: Opening,
  record: Ingest,
  known: Buffer | undefined,
  unlessCommitted: boolean,
) {
  const { namespace, ref, expected } = opening
  const outcome = await store.metadata.transact(namespace, {
    checks: [
      ...(expected !== undefined && unlessCommitted
        ? [{ is: 'absent', table: tables.content, field: expected.text } as const]
        : []),
      // Writers of other nodes may have come between.
      known === undefined
        ? { is: 'absent', table: tables.ingests, field: ref }
        : { is: 'equals', table: tables.ingests, field: ref, value: known },
    ],
    writes: [{ op: 'set', table: tables.ingests, field: ref, value: encode(Ingest, record) }],
    ...leaseOf(call, [ingestResource(ref)]),
    touches: [ingestResource(ref)],
  })
  return outcome.ok
}

/** Opened under a lease, an ingest keeps the deadline of its last opening without one, if there was any. */
function expiry(known: Ingest | undefined, lease: string | undefined): { expireAt?: Timestamp } {
  if (lease) return known?.expireAt === undefined ? {} : { expireAt: known.expireAt }
  const time = now()
  return { expireAt: { seconds: time.seconds + lifetime, nanos: time.nanos } }
}
