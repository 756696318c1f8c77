import type { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import type { LogDefinition } from '@flotilla/api/flotilla/events/v1/events'
import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import type { Logger } from '@flotilla/log'
import { fromMillis, type Metadata, toMillis } from '@flotilla/metadata'
import { invalidArgument, type ServiceOf } from '@flotilla/rpc'
import type { NatsConnection } from 'nats'
import { logState } from './event-log.ts'
import { createEventReader, type OpenEvents } from './event-reader.ts'
import { createFeeder } from './feeder.ts'
import { createPublisher } from './publish.ts'
import { createRelay } from './relay.ts'
import { defaultRetention, keepRetention, type Retention } from './retention.ts'
import { type StartRequest, startRequestOf } from './start.ts'
import { createTail } from './tail.ts'
import type { WindowLimits } from './window.ts'

/** Metadata of Subscribe: only events that happened on this node. `flotilla-node` says where a call is meant to go. */
export const eventNodeHeader = 'flotilla-event-node'

export interface EventsDeps {
  readonly metadata: Metadata
  /** Without it JetStream is not fed. */
  readonly nats?: NatsConnection
  /** Servers of a NATS cluster that keep the stream; default 1. */
  readonly replicas?: number
  /** Noted on events that do not say where they happened. */
  readonly nodeName: string
  readonly retention?: Retention
  readonly logger: Logger
  /** How much of the log's end is held in memory for subscribers; default 10,000 events or 16 MiB. */
  readonly window?: WindowLimits
}

/** containerd's Events, and the log with sequence numbers beside it. Disposing it ends all subscriptions. */
export interface EventsService extends ServiceOf<EventsDefinition>, AsyncDisposable {
  readonly log: ServiceOf<LogDefinition>
}

/** The events service of one process. Any number may run against one store; they share the work without a leader. */
export function createEventsService(deps: EventsDeps): EventsService {
  const { metadata, logger } = deps
  const retention = deps.retention ?? defaultRetention
  const owned = new AsyncDisposableStack()
  const tail = owned.use(createTail({ metadata, logger, ...(deps.window ? { window: deps.window } : {}) }))
  const relay = owned.use(createRelay({ metadata, logger, onMoved: () => tail.lookAgain() }))
  owned.use(keepRetention(metadata, retention))
  if (deps.nats)
    owned.use(createFeeder({ metadata, nats: deps.nats, replicas: deps.replicas ?? 1, tail, retention, logger }))
  const open = createEventReader({ metadata, tail, namespaces: () => relay.positions.keys() })
  return {
    ...createPublisher({ metadata, nodeName: deps.nodeName }),
    subscribe({ filters }, call) {
      const node = call.metadata.get(eventNodeHeader)
      const select = () => ({ start: startRequestOf(call), filters, node, follow: true })
      return open(select, call, ({ envelope }) => envelope)
    },
    log: createLogService(metadata, open),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function createLogService(metadata: Metadata, open: OpenEvents): ServiceOf<LogDefinition> {
  return {
    read({ sequence, time, filters, node, follow }, call) {
      const select = () => ({ start: startOf(sequence, time), filters, node: node === '' ? undefined : node, follow })
      return open(select, call, ({ sequence, envelope, node, recordedAt }) => ({
        sequence,
        envelope,
        node,
        recordedAt: fromMillis(recordedAt),
      }))
    },
    async status() {
      const { id, first, last } = await logState(metadata.redis)
      return { first, last, logId: id }
    },
  }
}

function startOf(sequence: number | undefined, time: Timestamp | undefined): StartRequest {
  if (sequence !== undefined && sequence < 0) throw invalidArgument(`sequence ${sequence} must not be negative`)
  if (sequence !== undefined) return { kind: 'sequence', sequence }
  return time === undefined ? { kind: 'now' } : { kind: 'time', time: toMillis(time) }
}
