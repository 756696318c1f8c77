import { ContentCreate } from '@flotilla/api/containerd/events/events'
import { Info } from '@flotilla/api/containerd/services/content/v1/content'
import { addBlobNode, encode, eventOf, now, tables, validateLabels, withoutEmpty } from '@flotilla/metadata'
import { alreadyExists, type Call, failedPrecondition, hasCode, status } from '@flotilla/rpc'
import type { Digest } from './digest.ts'
import type { OpenIngest } from './open-ingest.ts'
import { keepCopies } from './peers/keep-copies.ts'
import { contentResource, ingestResource, joinExisting, leaseOf, whereIs } from './records.ts'
import type { Store } from './store.ts'
import { sweepBlob } from './sweep.ts'

export interface Commit {
  /** 0 when unsaid. */
  readonly total: number
  readonly expected: Digest | undefined
  readonly labels: Readonly<Record<string, string>>
}

/**
 * Makes content of an ingest. The order is what makes it safe: bytes on disk, file in its place, name on disk, record.
 * The file is linked, not moved, so that until the record is there the ingest is whole and can be resumed, and a cut
 * leaves at most a blob that nobody names.
 *
 * @throws FAILED_PRECONDITION when size or digest are not as told, ALREADY_EXISTS when the namespace has the digest.
 */
export async function commitIngest(store: Store, call: Call, ingest: OpenIngest, commit: Commit): Promise<Digest> {
  const { total, expected } = commit
  validateLabels(commit.labels, 'info.Labels: ')
  const size = ingest.offset
  if (total > 0 && total !== size)
    throw failedPrecondition(`"${ingest.ref}" failed size validation: ${size} != ${total}`)
  const found = expected === undefined ? ingest.digest() : await ingest.digestAs(expected.algorithm, call.signal)
  if (expected !== undefined && found !== undefined && expected.text !== found.text)
    throw failedPrecondition(`unexpected commit digest ${found.text}, expected ${expected.text}`)
  const digest = found ?? expected
  if (digest === undefined)
    throw failedPrecondition(`the content plugin does not tell the digest of "${ingest.ref}": name the one expected`)

  try {
    return await place(store, call, ingest, digest, commit.labels)
  } catch (error) {
    // The lease went meanwhile, so there is a blob without a record. After any other failure nobody knows whether the
    // record is going to appear.
    if (hasCode(error, status.NOT_FOUND)) await sweepBlob(store, digest).catch(() => store.secondLooks.at(digest))
    else if (!hasCode(error, status.ALREADY_EXISTS)) store.secondLooks.at(digest)
    throw error
  }
}

/** Puts the bytes into their place and writes the record. */
async function place(
  store: Store,
  call: Call,
  ingest: OpenIngest,
  digest: Digest,
  labels: Readonly<Record<string, string>>,
): Promise<Digest> {
  const size = ingest.offset
  // From here until the record is written no sweep may look at this digest.
  using _ = await store.digests.share(digest.text)
  for (;;) {
    if ((await whereIs(store, ingest.namespace, digest)) !== 'here') {
      await Promise.all([
        ingest.commit(digest),
        // Before the record: whoever is listed may lack the blob, who has it is listed.
        store.peers === undefined ? undefined : addBlobNode(store.metadata, digest.text, store.node),
      ])
      if (await record(store, call, ingest, digest, size, labels)) {
        await ingest.finish()
        void keepCopies(store, ingest.namespace, digest, labels)
        return digest
      }
    }
    if (await joinExisting(store, call, ingest.namespace, digest, ingest.ref)) {
      await ingest.finish()
      throw alreadyExists(`content ${digest.text}`)
    }
  }
}

async function record(
  store: Store,
  call: Call,
  ingest: OpenIngest,
  digest: Digest,
  size: number,
  labels: Readonly<Record<string, string>>,
): Promise<boolean> {
  const time = now()
  const info = Info.fromPartial({
    digest: digest.text,
    size,
    createdAt: time,
    updatedAt: time,
    labels: withoutEmpty(labels),
  })
  const event = ContentCreate.fromPartial({ digest: digest.text, size })
  const outcome = await store.metadata.transact(ingest.namespace, {
    checks: [{ is: 'absent', table: tables.content, field: digest.text }],
    writes: [
      { op: 'set', table: tables.content, field: digest.text, value: encode(Info, info) },
      { op: 'delete', table: tables.ingests, field: ingest.ref },
    ],
    ...leaseOf(call, [contentResource(digest)], [ingestResource(ingest.ref)]),
    events: [eventOf('/content/create', 'containerd.events.ContentCreate', ContentCreate, event)],
    touches: [contentResource(digest)],
  })
  return outcome.ok
}
