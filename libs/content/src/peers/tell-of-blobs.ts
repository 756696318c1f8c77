import { addBlobNode } from '@flotilla/metadata'
import type { Store } from '../store.ts'

/** Lists this node with every blob that it has: one that joins a cluster brings what it had alone. */
export async function tellOfBlobs(store: Store): Promise<void> {
  try {
    for await (const batch of store.bytes.blobs()) {
      if (store.closing.aborted) return
      await Promise.all(batch.map((digest) => addBlobNode(store.metadata, digest.text, store.node)))
    }
  } catch (err) {
    store.logger?.warn({ err }, 'could not list all blobs of this node; others will not look for them here')
  }
}
