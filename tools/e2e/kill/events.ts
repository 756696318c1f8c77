import { TaskExit } from '@flotilla/api/containerd/events/events'
import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import type { Envelope } from '@flotilla/api/containerd/types/types'
import { makeCall } from '@flotilla/rpc'
import { type Clients, callIn } from '../harness/clients.ts'

/** Every event of a namespace from the beginning of the log until now, in order. */
export async function eventsSoFar(clients: Clients, namespace: string): Promise<Envelope[]> {
  const events = clients.of(EventsDefinition)
  const end = `/test/end-${Math.random()}`
  await events.publish({ topic: end, event: undefined }, callIn(namespace))
  const call = makeCall({ timeout: 60_000, metadata: { 'flotilla-from-sequence': '1' } })
  const seen: Envelope[] = []
  for await (const envelope of events.subscribe({ filters: [`namespace==${namespace}`] }, call)) {
    if (envelope.topic === end) break
    seen.push(envelope)
  }
  return seen
}

/** What is said about the ends of processes. */
export function exitsIn(events: readonly Envelope[]): TaskExit[] {
  return events.flatMap(({ topic, event }) => (topic === '/tasks/exit' && event ? [TaskExit.decode(event.value)] : []))
}
