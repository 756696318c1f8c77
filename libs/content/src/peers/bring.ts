import { rename } from 'node:fs/promises'
import type { Info } from '@flotilla/api/containerd/services/content/v1/content'
import { addArriving, addBlobNode, removeArriving } from '@flotilla/metadata'
import { type Call, dataLoss, requireNamespace, unavailable } from '@flotilla/rpc'
import { type Digest, parseDigest } from '../digest.ts'
import { hashBlob } from '../hash-file.ts'
import { unnamed } from '../named.ts'
import { contentNotFound, contentRecord } from '../records.ts'
import type { Store } from '../store.ts'
import { gather } from './gather.ts'
import { PartialBlob, pieceBytes } from './partial-blob.ts'
import type { Wanted } from './peers.ts'
import { isReachable } from './reachable.ts'

/** As {@link bring}, for who knows the digest only. NOT_FOUND when the namespace does not have it. */
export async function bringNamed(store: Store, digest: Digest, call: Call): Promise<void> {
  const namespace = requireNamespace(call)
  const record = await contentRecord(store, namespace, digest)
  if (record === undefined) throw contentNotFound(digest)
  await bring(store, namespace, record, call)
}

/**
 * Sees to it that a blob is on this node's disk: from other nodes that have it, from several at once if it is large,
 * also from those that are only just getting it; else from the registry that it came from. Whichever it was, the digest
 * is checked.
 *
 * @throws UNAVAILABLE when nobody who has it answers
 */
export async function bring(store: Store, namespace: string, record: Info, call: Call): Promise<void> {
  const digest = parseDigest(record.digest)
  if ((await store.bytes.size(digest)) !== undefined) return
  const wanted: Wanted = { namespace, digest: digest.text, size: record.size, labels: record.labels }
  const arriving = store.arrivals.join(digest.text, (arrival) => transfer(store, digest, wanted, true, arrival))
  await untilAborted(arriving, call.signal)
  // What was under way may have been a mere prefetch that found nobody any more.
  if ((await store.bytes.size(digest)) === undefined)
    await untilAborted(
      store.arrivals.join(digest.text, (arrival) => transfer(store, digest, wanted, true, arrival)),
      call.signal,
    )
}

/**
 * Brings a blob that another namespace has and this node lacks, so that it can be adopted here. When that cannot be, the
 * client brings it.
 */
export async function bringToAdopt(store: Store, digest: Digest, size: number, call: Call): Promise<void> {
  if (size <= 0 || (await store.bytes.size(digest)) !== undefined || !(await isReachable(store, digest))) return
  if ((await unnamed(store, [digest])).length > 0) return
  const wanted: Wanted = { namespace: '', digest: digest.text, size, labels: {} }
  const arriving = store.arrivals.join(digest.text, (arrival) => transfer(store, digest, wanted, false, arrival))
  await untilAborted(arriving, call.signal).catch((err: unknown) => {
    if (call.signal.aborted) throw err
    store.logger?.warn({ err, digest: digest.text }, 'a blob of another node could not be adopted')
  })
}

/** Gets what other nodes have of a blob that no record names yet, since it is going to be wanted here. */
export function prefetch(store: Store, digest: Digest, size: number): void {
  if (size <= pieceBytes) return
  const wanted: Wanted = { namespace: '', digest: digest.text, size, labels: {} }
  // A failure is found out by who wants the blob.
  void store.arrivals.join(digest.text, (arrival) => transfer(store, digest, wanted, false, arrival)).catch(() => {})
}

async function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** @param isNamed whether a record names it, so that it may come from its registry and its absence is an error */
async function transfer(
  store: Store,
  digest: Digest,
  wanted: Wanted,
  isNamed: boolean,
  arrival: { partial?: PartialBlob },
): Promise<void> {
  await using partial = await PartialBlob.open(store.layout, digest, wanted.size)
  arrival.partial = partial
  await addArriving(store.metadata, digest.text, store.node)
  try {
    for (let alone = false; ; alone = true) {
      const sources = await gather(store, wanted, partial, { alone, fromRegistry: isNamed })
      if (!partial.complete) {
        if (!isNamed) return
        throw unavailable(`content ${digest.text} cannot be had on node "${store.node}": ${sources.why}`)
      }
      const found = await hashBlob(partial.path, wanted.size, digest.algorithm, store.closing)
      if (found.text === digest.text) break
      await partial.reset()
      // Of several sources nobody knows which was wrong; one at a time, they are told apart.
      if (alone) throw dataLoss(`content ${digest.text} came as ${found.text} from ${sources.used.join(', ')}`)
      store.logger?.warn({ digest: digest.text, came: found.text, from: sources.used }, 'a blob came damaged')
    }
    await putIntoPlace(store, digest, partial)
  } finally {
    delete arrival.partial
    await removeArriving(store.metadata, digest.text, store.node).catch(() => {})
  }
  // What was deleted while it came must not stay; what came before its record gets a moment.
  store.secondLooks.at(digest)
}

async function putIntoPlace(store: Store, digest: Digest, partial: PartialBlob): Promise<void> {
  await partial.settle()
  using _ = await store.digests.share(digest.text)
  await rename(partial.path, store.layout.blob(digest))
  await Promise.all([
    store.directories.sync(store.layout.blobs(digest.algorithm)),
    addBlobNode(store.metadata, digest.text, store.node),
    partial.forget(),
  ])
}
