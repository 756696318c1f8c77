import * as messages from '@flotilla/api/containerd/events/events'
import type { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import type { Envelope } from '@flotilla/api/containerd/types/types'
import { type ServiceOf, unavailable, unimplemented } from '@flotilla/rpc'

export interface RecordedEvent {
  readonly topic: string
  readonly namespace: string
  readonly eventId: string
  readonly event: Record<string, unknown>
}

/** An events service that keeps what it is sent, once for each event id, and can be made to be away. */
export class RecordingEvents implements ServiceOf<typeof EventsDefinition> {
  readonly seen: RecordedEvent[] = []
  readonly #ids = new Set<string>()
  away = false

  async publish(): Promise<never> {
    throw unimplemented('publish')
  }

  async forward({ envelope }: { envelope: Envelope | undefined }, call: { metadata: ReadonlyMap<string, string> }) {
    if (this.away) throw unavailable('events')
    const eventId = call.metadata.get('flotilla-event-id') ?? ''
    if (!envelope || this.#ids.has(eventId)) return {}
    this.#ids.add(eventId)
    const { namespace, topic } = envelope
    this.seen.push({ topic, namespace, eventId, event: decode(envelope) })
    return {}
  }

  // biome-ignore lint/correctness/useYield: nobody subscribes here
  async *subscribe(): AsyncGenerator<never> {
    throw unimplemented('subscribe')
  }

  /** Topics of one task's events, in the order they came. */
  topics(id: string): string[] {
    return this.of(id).map(({ topic }) => topic)
  }

  of(id: string): RecordedEvent[] {
    return this.seen.filter(({ event }) => event.containerId === id)
  }
}

function decode({ event }: Envelope): Record<string, unknown> {
  const name = event?.typeUrl.split('.').at(-1) ?? ''
  const type = (messages as unknown as Record<string, { decode(bytes: Uint8Array): Record<string, unknown> }>)[name]
  if (!event || !type) throw new Error(`an event of type ${event?.typeUrl}`)
  return type.decode(event.value)
}
