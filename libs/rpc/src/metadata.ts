import { Metadata } from '@grpc/grpc-js'
import type { Call } from './call.ts'

const namespaceKey = 'containerd-namespace'
const leaseKey = 'containerd-lease'

/** Reads a call's parts from gRPC metadata; the first value of a name counts. */
export function fromMetadata(metadata: Metadata): Pick<Call, 'namespace' | 'lease' | 'metadata'> {
  const rest = new Map<string, string>()
  for (const key of Object.keys(metadata.getMap())) {
    const value = metadata.get(key)[0]
    if (typeof value === 'string' && key !== namespaceKey && key !== leaseKey) rest.set(key, value)
  }
  // A name that came twice (BuildKit sets its namespace beside dockerd's) reaches us as one value: Node's http2 joins.
  const first = (key: string) => {
    const value = metadata.get(key)[0]
    return typeof value === 'string' ? value.split(', ', 1)[0] : undefined
  }
  return { namespace: first(namespaceKey), lease: first(leaseKey), metadata: rest }
}

// Set by the transport itself; passing a caller's own on would be wrong or refused.
const ownedByTransport = new Set([
  'user-agent',
  'content-type',
  'te',
  'grpc-timeout',
  'grpc-accept-encoding',
  'grpc-encoding',
  'accept-encoding',
])

/** Writes a call's parts to gRPC metadata for an onward call. */
export function toMetadata(call: Call): Metadata {
  const metadata = new Metadata()
  for (const [key, value] of call.metadata) if (!ownedByTransport.has(key)) metadata.set(key, value)
  if (call.namespace !== undefined) metadata.set(namespaceKey, call.namespace)
  if (call.lease !== undefined) metadata.set(leaseKey, call.lease)
  return metadata
}
