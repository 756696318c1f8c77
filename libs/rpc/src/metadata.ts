import { Metadata } from '@grpc/grpc-js'
import type { Call } from './call.ts'
import { leaseKey, namespaceKey } from './grpc-headers.ts'

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
