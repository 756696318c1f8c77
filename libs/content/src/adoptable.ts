import { Namespace } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import { tables } from '@flotilla/metadata'
import type { Digest } from './digest.ts'
import { namespacesWith } from './named.ts'
import type { SharingPolicy, Store } from './store.ts'

const shareableLabel = 'containerd.io/namespace.shareable'

/**
 * The size of a blob that a namespace may have without sending its bytes; undefined when it may not. `total` is what
 * the client says its size is, 0 for unsaid. The caller holds the digest's lock. For callers over the network the policy
 * is `isolated` whatever the store's: knowing a digest is no right to its bytes.
 */
export async function adoptableSize(
  store: Store,
  digest: Digest,
  total: number,
  policy: SharingPolicy,
): Promise<number | undefined> {
  const size = await store.bytes.size(digest)
  if (size === undefined || (total > 0 && total !== size)) return undefined
  if (policy === 'shared') return size
  for (const namespace of await namespacesWith(store, digest)) {
    const record = await store.metadata.get(namespace, tables.namespace, 'record')
    if (record !== undefined && Namespace.decode(record).labels[shareableLabel] === 'true') return size
  }
  return undefined
}
