import type { ForwardRequest, PublishRequest } from '@flotilla/api/containerd/services/events/v1/events'
import { Envelope } from '@flotilla/api/containerd/types/types'
import type { Metadata } from '@flotilla/metadata'
import { type Call, invalidArgument, RpcError, requireNamespace, toRpcError, validateIdentifier } from '@flotilla/rpc'
import { validateTopic } from './topic.ts'

/** Metadata of Forward: `NODE/SEQUENCE`, the event's position in the journal of the node that forwards it. */
export const eventIdHeader = 'flotilla-event-id'

export interface Publisher {
  publish(request: PublishRequest, call: Call): Promise<Record<string, never>>
  forward(request: ForwardRequest, call: Call): Promise<Record<string, never>>
}

/** Publish and Forward: one event, acknowledged when it is in the outbox of its namespace. */
export function createPublisher(deps: { readonly metadata: Metadata; readonly nodeName: string }): Publisher {
  const { metadata } = deps
  // The gateway of a node says whose socket it was.
  const nodeOf = (call: Call) => call.metadata.get('flotilla-node') ?? deps.nodeName
  return {
    async publish({ topic, event }, call) {
      const namespace = namespaceOf(call)
      validateTopic(topic)
      const { typeUrl, value } = event ?? { typeUrl: '', value: Buffer.alloc(0) }
      await metadata.transact(namespace, { events: [{ topic, typeUrl, value, node: nodeOf(call) }] })
      return {}
    },
    async forward(request, call) {
      const envelope = request.envelope ?? Envelope.fromPartial({})
      try {
        validateIdentifier(envelope.namespace)
      } catch (error) {
        throw invalidArgument(`event envelope has invalid namespace: ${toRpcError(error).message}`)
      }
      validateTopic(envelope.topic)
      const { typeUrl, value } = envelope.event ?? { typeUrl: '', value: Buffer.alloc(0) }
      const time = envelope.timestamp ?? { seconds: 0, nanos: 0 }
      const header = call.metadata.get(eventIdHeader)
      const origin = header === undefined ? { node: nodeOf(call) } : parseEventId(header)
      await metadata.transact(envelope.namespace, {
        events: [{ topic: envelope.topic, typeUrl, value, time, ...origin }],
      })
      return {}
    },
  }
}

function namespaceOf(call: Call): string {
  try {
    return requireNamespace(call)
  } catch (error) {
    const { code, message } = toRpcError(error)
    throw new RpcError(code, `failed publishing event: ${message}`, { cause: error })
  }
}

function parseEventId(header: string): { node: string; sequence: number } {
  const at = header.lastIndexOf('/')
  const sequence = Number(header.slice(at + 1))
  if (at < 1 || !/^\d+$/.test(header.slice(at + 1)) || !Number.isSafeInteger(sequence) || sequence < 1)
    throw invalidArgument(`metadata ${eventIdHeader} ${JSON.stringify(header)} must be NODE/SEQUENCE`)
  return { node: header.slice(0, at), sequence }
}
