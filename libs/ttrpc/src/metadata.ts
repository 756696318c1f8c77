import type { KeyValue } from '@flotilla/api/ttrpc/ttrpc'
import type { Call } from '@flotilla/rpc'

/** How the containerd namespace travels over ttrpc. */
const namespaceKey = 'containerd-namespace-ttrpc'

/** A call's parts as metadata pairs. A lease has no ttrpc form and stays behind. */
export function toPairs(call: Call): KeyValue[] {
  const pairs = [...call.metadata].map(([key, value]) => ({ key, value }))
  if (call.namespace !== undefined) pairs.push({ key: namespaceKey, value: call.namespace })
  return pairs
}

/** Metadata pairs as parts of a call; the first value of a name counts. */
export function fromPairs(pairs: readonly KeyValue[]): Pick<Call, 'namespace' | 'lease' | 'metadata'> {
  const metadata = new Map<string, string>()
  for (const { key, value } of pairs) {
    const name = key.toLowerCase()
    if (!metadata.has(name)) metadata.set(name, value)
  }
  const namespace = metadata.get(namespaceKey)
  metadata.delete(namespaceKey)
  return { namespace, lease: undefined, metadata }
}
