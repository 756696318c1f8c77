import { subjectToken } from '@flotilla/bus'

/** The JetStream stream that has all events. */
export const eventsStream = 'FLOTILLA_EVENTS'

/** Every subject of that stream. */
export const allEvents = 'flotilla.events.>'

/** Headers of each message. */
export const eventHeaders = {
  sequence: 'Flotilla-Sequence',
  namespace: 'Flotilla-Namespace',
  topic: 'Flotilla-Topic',
  node: 'Flotilla-Node',
  /** Id of the log whose sequence numbers these are. */
  log: 'Flotilla-Log',
  /** Instead of a payload that is larger than the server takes: its size in bytes. Read it from the log. */
  oversize: 'Flotilla-Oversize',
} as const

/**
 * Where an event is published: `/tasks/exit` in `k8s.io` is `flotilla.events.k8s%2Eio.tasks.exit`. A dot within a name
 * is written %2E, so that it does not begin a new part.
 */
export function eventSubject(namespace: string, topic: string): string {
  return ['flotilla.events', namespace, ...topic.slice(1).split('/')]
    .map((part, index) => (index === 0 ? part : subjectToken(part)))
    .join('.')
}
