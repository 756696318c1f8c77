import { DiffDefinition } from '@flotilla/api/containerd/services/diff/v1/diff'
import { TransferDefinition } from '@flotilla/api/containerd/services/transfer/v1/transfer'
import { type Call, failedPrecondition, withCall } from '@flotilla/rpc'

/**
 * A call that came through a node's socket is about that node, unless it names another: `flotilla-node-by` says which
 * of the two. FIFOs that it names are on the socket's node in any case (`flotilla-socket-node`).
 */
export function throughNode(call: Call, node: string): Call {
  const metadata = new Map(call.metadata)
  metadata.set('flotilla-socket-node', node)
  if (metadata.has('flotilla-node')) metadata.delete('flotilla-node-by')
  else metadata.set('flotilla-node', node).set('flotilla-node-by', 'socket')
  return withCall(call, { metadata })
}

/** Services that work with directories of the node that is called, whichever is named. */
const actingHere = new Set<string>([DiffDefinition.fullName, TransferDefinition.fullName])

/**
 * At the endpoint the caller says which node a call is about, or the scheduler. FIFOs that a caller names are here, for
 * it has them from our Stdio service.
 */
export function throughEndpoint(call: Call, node: string, service: string): Call {
  const metadata = new Map(call.metadata).set('flotilla-socket-node', node)
  const named = metadata.get('flotilla-node')
  if (actingHere.has(service)) {
    if (named !== undefined && named !== node)
      throw failedPrecondition(`${service} is carried out by node "${node}", which was called, not by "${named}"`)
    metadata.set('flotilla-node', node)
  }
  if (metadata.has('flotilla-node')) metadata.delete('flotilla-node-by')
  else metadata.set('flotilla-node-by', 'scheduler')
  return withCall(call, { metadata })
}
