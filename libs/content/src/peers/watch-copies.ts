import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { blobNodes, removeBlobNode } from '@flotilla/metadata'
import { makeCall } from '@flotilla/rpc'
import type { Digest } from '../digest.ts'
import { namespacesWith } from '../named.ts'
import { contentRecord } from '../records.ts'
import type { Store } from '../store.ts'
import { keepCopies } from './keep-copies.ts'
import type { Peers } from './peers.ts'

export interface CopiesPolicy {
  /** Milliseconds between two rounds. */
  readonly every: number
  /** Milliseconds after which a copy that is one too many goes; 0: never. */
  readonly pruneAfter: number
}

/** Milliseconds for a node to say whether it has a blob. */
const patience = 5_000

/**
 * Looks through this node's blobs again and again, until the store closes: of those that too few nodes have, since one
 * is gone, others get copies; those that more have than need to go from the ones that got them last in line. Nodes agree
 * on who does what without talking about it, from the list of nodes that answer.
 */
export async function watchCopies(store: Store, policy: CopiesPolicy): Promise<void> {
  const { closing, logger, peers } = store
  if (peers === undefined || (store.copies <= 1 && policy.pruneAfter === 0)) return
  // A node that is only just starting again needs no replacement: what was missing a round ago and is now, is.
  let missing = new Set<string>()
  while (!closing.aborted) {
    await sleep(policy.every, undefined, { signal: closing }).catch(() => {})
    try {
      const still = new Set<string>()
      const ready = new Set(await peers.ready())
      for await (const batch of store.bytes.blobs())
        for (const digest of batch) {
          if (closing.aborted) return
          const holders = (await blobNodes(store.metadata, digest.text)).filter((node) => ready.has(node))
          if (holders.length < store.copies && holders[0] === store.node && ready.size > holders.length) {
            still.add(digest.text)
            if (missing.has(digest.text)) await replace(store, digest)
          } else if (holders.length > store.copies && policy.pruneAfter > 0)
            await prune(store, peers, digest, holders, policy.pruneAfter)
        }
      missing = still
    } catch (err) {
      if (!closing.aborted) logger?.warn({ err }, 'copies of blobs could not be looked after; again in a moment')
    }
  }
}

async function replace(store: Store, digest: Digest): Promise<void> {
  for (const namespace of await namespacesWith(store, digest)) {
    const record = await contentRecord(store, namespace, digest)
    if (record !== undefined) return await keepCopies(store, namespace, digest, record.labels)
  }
}

/** Removes this node's copy when it is not among the first in line and those say that they have theirs. */
async function prune(
  store: Store,
  peers: Peers,
  digest: Digest,
  holders: readonly string[],
  age: number,
): Promise<void> {
  const keepers = holders
    .map((node) => ({ node, place: createHash('sha256').update(`${digest.text} ${node}`).digest('hex') }))
    .sort((a, b) => (a.place < b.place ? -1 : 1))
    .slice(0, store.copies)
    .map(({ node }) => node)
  if (keepers.includes(store.node)) return
  const { mtimeMs } = await stat(store.layout.blob(digest))
  if (Date.now() - mtimeMs < age) return
  for (const node of keepers) {
    const call = makeCall({ signal: store.closing, timeout: patience })
    const [state] = (await peers.blobs(node).stat({ digests: [digest.text] }, call)).blobs
    if (!state?.whole) return
  }
  using _ = await store.digests.exclude(digest.text)
  if ([...store.adoptions.of(digest.text)].length > 0) return
  await removeBlobNode(store.metadata, digest.text, store.node)
  await store.bytes.remove(digest)
}
