import { keyOf, type Metadata, tables } from '@flotilla/metadata'

/** One event as it waits in a namespace's outbox. */
export interface WaitingEvent {
  readonly topic: string
  readonly type: string
  readonly value: Buffer
  readonly time: string
  readonly node: string
}

/** All events in the outbox of a namespace, the oldest first. */
export async function outboxOf(metadata: Metadata, namespace: string): Promise<WaitingEvent[]> {
  const entries = await metadata.redis.xrangeBuffer(keyOf(namespace, tables.outbox), '-', '+')
  return entries.map(([, flat]) => {
    const field = (name: string): Buffer => {
      const at = flat.findIndex((value, index) => index % 2 === 0 && String(value) === name)
      const value = at === -1 ? undefined : flat[at + 1]
      if (value === undefined) throw new Error(`an event in the outbox of ${namespace} has no ${name}`)
      return value
    }
    return {
      topic: String(field('topic')),
      type: String(field('type')),
      value: field('value'),
      time: String(field('time')),
      node: String(field('node')),
    }
  })
}
