import { type SweepRequest, SweepResponse } from '@flotilla/api/flotilla/content/v1/content'
import { removeBlobNode } from '@flotilla/metadata'
import type { Call } from '@flotilla/rpc'
import type { Owner } from './bytes.ts'
import { type Digest, parseDigest } from './digest.ts'
import { unnamed } from './named.ts'
import { ingestRecord } from './records.ts'
import type { Store } from './store.ts'

/** Digests asked about at once. */
const batchSize = 200

/** Files being removed at once; unlinking a large one takes a thread of the pool for a while. */
const atOnce = 4

/**
 * Removes blobs that no namespace names and no ingest is going to adopt, and ingests without a record. An object that
 * is being committed or adopted is kept, whatever the order of things.
 */
export async function sweep(store: Store, request: SweepRequest, call: Call): Promise<SweepResponse> {
  const given = request.digests.map(parseDigest)
  const freed = SweepResponse.fromPartial({})
  const blobs = request.ingestsOnly ? [] : given.length > 0 ? batchesOf(given) : store.bytes.blobs()
  for await (const batch of blobs) {
    call.signal.throwIfAborted()
    await each(await unnamed(store, batch), async (digest) => {
      const bytes = await sweepBlob(store, digest)
      if (bytes === undefined) return
      freed.blobs++
      freed.bytes += bytes
    })
  }
  await each(await store.bytes.ingests(), async (owner) => {
    call.signal.throwIfAborted()
    const bytes = await sweepIngest(store, owner)
    if (bytes === undefined) return
    freed.ingests++
    freed.bytes += bytes
  })
  return freed
}

/** Removes one blob unless it has to stay; gives the bytes freed, undefined when it stays or is not there. */
export async function sweepBlob(store: Store, digest: Digest): Promise<number | undefined> {
  using _ = await store.digests.exclude(digest.text)
  const size = await store.bytes.size(digest)
  if (size === undefined) return undefined
  // Asked again under the lock: the first answer only spared us the lock for all the others.
  if ((await unnamed(store, [digest])).length === 0) return undefined
  if (await isToBeAdopted(store, digest)) return undefined
  await store.bytes.remove(digest)
  if (store.peers !== undefined) await removeBlobNode(store.metadata, digest.text, store.node)
  return size
}

async function isToBeAdopted(store: Store, digest: Digest): Promise<boolean> {
  for (const { namespace, ref } of store.adoptions.of(digest.text)) {
    if (store.writers.isHeld(namespace, ref)) return true
    const record = await ingestRecord(store, namespace, ref)
    if (record?.adopts === digest.text && record.node === store.node) return true
    store.adoptions.remove(digest.text, namespace, ref)
  }
  return false
}

/** Removes an ingest that nobody writes and that has no record; gives the bytes freed. */
export async function sweepIngest(store: Store, owner: Owner): Promise<number | undefined> {
  const removal = store.writers.removeIfFree(owner.namespace, owner.ref)
  if (removal === undefined) return undefined
  try {
    const record = await ingestRecord(store, owner.namespace, owner.ref)
    if (record !== undefined && record.node === store.node && record.adopts === '') return undefined
    const freed = await store.bytes.freedBy(owner)
    await store.bytes.discard(owner)
    return freed
  } finally {
    removal.release()
  }
}

function* batchesOf(digests: readonly Digest[]): Generator<Digest[]> {
  for (let i = 0; i < digests.length; i += batchSize) yield digests.slice(i, i + batchSize)
}

async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values()
  const worker = async () => {
    for (const item of queue) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
}
