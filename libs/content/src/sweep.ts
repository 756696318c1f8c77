import { opendir, stat, unlink } from 'node:fs/promises'
import { type SweepRequest, SweepResponse } from '@flotilla/api/flotilla/content/v1/content'
import { removeBlobNode } from '@flotilla/metadata'
import type { Call } from '@flotilla/rpc'
import { algorithms, type Digest, digestOfFile, parseDigest } from './digest.ts'
import { dataFile, findIngests, removeIngest } from './ingest-directory.ts'
import { unnamed } from './named.ts'
import { blobSize, ingestRecord } from './records.ts'
import type { Store } from './store.ts'

/** Digests asked about at once. */
const batchSize = 200

/** Files being removed at once; unlinking a large one takes a thread of the pool for a while. */
const atOnce = 4

/**
 * Unlinks blobs that no namespace names and no ingest is going to adopt, and ingests without a record. An object that
 * is being committed or adopted is kept, whatever the order of things.
 */
export async function sweep(store: Store, request: SweepRequest, call: Call): Promise<SweepResponse> {
  const given = request.digests.map(parseDigest)
  const freed = SweepResponse.fromPartial({})
  const blobs = request.ingestsOnly ? [] : given.length > 0 ? batchesOf(given) : blobsOf(store)
  for await (const batch of blobs) {
    call.signal.throwIfAborted()
    await each(await unnamed(store, batch), async (digest) => {
      const bytes = await sweepBlob(store, digest)
      if (bytes === undefined) return
      freed.blobs++
      freed.bytes += bytes
    })
  }
  await each(await findIngests(store.layout), async ({ directory, owner }) => {
    call.signal.throwIfAborted()
    // Without an owner it is on its way in or out.
    const bytes = owner === undefined ? undefined : await sweepIngest(store, directory, owner)
    if (bytes === undefined) return
    freed.ingests++
    freed.bytes += bytes
  })
  return freed
}

/** Unlinks one blob unless it has to stay; gives the bytes freed, undefined when it stays or is not there. */
export async function sweepBlob(store: Store, digest: Digest): Promise<number | undefined> {
  using _ = await store.digests.exclude(digest.text)
  const size = await blobSize(store, digest)
  if (size === undefined) return undefined
  // Asked again under the lock: the first answer only spared us the lock for all the others.
  if ((await unnamed(store, [digest])).length === 0) return undefined
  if (await isToBeAdopted(store, digest)) return undefined
  await unlink(store.layout.blob(digest))
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

/** Removes the directory of an ingest that nobody writes and that has no record; gives the bytes freed. */
export async function sweepIngest(
  store: Store,
  directory: string,
  owner: { readonly namespace: string; readonly ref: string },
): Promise<number | undefined> {
  const removal = store.writers.removeIfFree(owner.namespace, owner.ref)
  if (removal === undefined) return undefined
  try {
    const record = await ingestRecord(store, owner.namespace, owner.ref)
    if (record !== undefined && record.node === store.node && record.adopts === '') return undefined
    const data = await stat(dataFile(directory)).catch(() => undefined)
    await removeIngest(store.layout, directory)
    // Bytes that are a blob's as well are not freed yet.
    return data === undefined || data.nlink > 1 ? 0 : data.size
  } finally {
    removal.release()
  }
}

/** The blobs on this node's disk, in batches. */
export async function* blobsOf(store: Store): AsyncGenerator<Digest[]> {
  for (const algorithm of algorithms) {
    let batch: Digest[] = []
    for await (const entry of await opendir(store.layout.blobs(algorithm), { bufferSize: batchSize })) {
      const digest = digestOfFile(algorithm, entry.name)
      if (digest === undefined) continue
      batch.push(digest)
      if (batch.length === batchSize) {
        yield batch
        batch = []
      }
    }
    if (batch.length > 0) yield batch
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
