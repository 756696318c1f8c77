import * as events from '@flotilla/api/containerd/events/events'
import * as images from '@flotilla/api/containerd/services/images/v1/images'
import type { Any } from '@flotilla/api/google/protobuf/any'
import { hasCode, status } from '@flotilla/rpc'
import type { CallSettings } from './caller.ts'
import type { Client } from './client.ts'
import { dateOf, timestampOf } from './time.ts'

/** Something that happened. */
export interface ClusterEvent {
  /** Its place in the one order of all events; the next subscription begins at this plus one. */
  readonly sequence: number
  readonly topic: string
  readonly namespace: string
  /** Where it happened. */
  readonly node: string
  /** When it happened, as its publisher says. */
  readonly time: Date
  /** When the store recorded it. */
  readonly recordedAt: Date
  /** Full name of the message's type, `containerd.events.TaskExit`. */
  readonly type: string
  /** The message; undefined for a type that this package does not know. */
  readonly message: unknown
  /** The message's bytes. */
  readonly value: Uint8Array
}

export interface EventsOptions {
  /** Where to begin: a sequence number (0: the oldest kept) or a time. From now on unless given. */
  readonly from?: number | Date | undefined
  /** containerd's filters, such as `topic~="^/tasks/"`; an event is given when any matches. */
  readonly filters?: readonly string[] | undefined
  /** Only what happened on this node. */
  readonly node?: string | undefined
  /** Go on with new events; true unless given. */
  readonly follow?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * The cluster's events in order. When the connection or the service is lost it connects again and goes on behind the
 * last event that it gave, so none is missed and none comes twice. Ends when the loop is left or the signal aborts.
 *
 * @throws OUT_OF_RANGE when the place to go on from is no longer kept
 */
export async function* subscribe(client: Client, options: EventsOptions = {}): AsyncGenerator<ClusterEvent> {
  const { signal, node = '', filters = [], follow = true } = options
  const settings: CallSettings = { signal }
  let from = options.from
  // From now on means from now, also when the first connection breaks before the first event.
  if (from === undefined && follow) from = (await client.eventLog.status({}, settings)).last + 1
  for (let wait = firstWait; ; ) {
    try {
      const start =
        typeof from === 'number' ? { sequence: from } : from === undefined ? {} : { time: timestampOf(from) }
      for await (const entry of client.eventLog.read({ ...start, filters: [...filters], node, follow }, settings)) {
        wait = firstWait
        from = entry.sequence + 1
        const { topic = '', namespace = '', event, timestamp } = entry.envelope ?? {}
        yield {
          sequence: entry.sequence,
          topic,
          namespace,
          node: entry.node,
          time: dateOf(timestamp),
          recordedAt: dateOf(entry.recordedAt),
          type: typeName(event),
          message: decodeEvent(event),
          value: event?.value ?? new Uint8Array(),
        }
      }
      if (!follow) return
    } catch (error) {
      if (signal?.aborted) return
      if (!hasCode(error, status.UNAVAILABLE)) throw error
    }
    await pause(wait, signal)
    if (signal?.aborted) return
    wait = Math.min(2 * wait, longestWait)
  }
}

/** Milliseconds between attempts to connect again. */
const firstWait = 100
const longestWait = 2_000

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}

interface Decoding {
  decode(bytes: Uint8Array): unknown
}

const known = new Map<string, Decoding>([
  ...decodersIn('containerd.events', events),
  ...decodersIn('containerd.services.images.v1', images),
])

function decodersIn(prefix: string, module: object): Array<[string, Decoding]> {
  return Object.entries(module).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null && 'decode' in value
      ? [[`${prefix}.${name}`, value as Decoding] as [string, Decoding]]
      : [],
  )
}

function typeName(any: Any | undefined): string {
  return any?.typeUrl.split('/').at(-1) ?? ''
}

/** The message in an event's envelope; undefined for a type that this package does not know. */
export function decodeEvent(any: Any | undefined): unknown {
  return any === undefined ? undefined : known.get(typeName(any))?.decode(any.value)
}
