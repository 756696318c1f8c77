import {
  headers,
  type JetStreamManager,
  type NatsConnection,
  NatsError,
  nanos,
  type PublishOptions,
  RetentionPolicy,
  StorageType,
} from 'nats'
import { type AckInbox, createAckInbox, type PublishAck } from './ack-inbox.ts'
import type { LogEntry } from './log-entry.ts'
import { defaultRetention, type Retention } from './retention.ts'
import { allEvents, eventHeaders, eventSubject, eventsStream } from './subject.ts'

/** The end of the stream: its own number of the last message, and what that message was. */
export interface StreamEnd {
  /** JetStream's number of the last message ever stored. */
  readonly streamSequence: number
  /** The last event in it; undefined when there is none. */
  readonly last: { readonly sequence: number; readonly logId: string; readonly bytes: Uint8Array } | undefined
}

/** Another feeder wrote to the stream since its end was looked at. */
export class FeedConflict extends Error {
  constructor() {
    super('another process feeds the stream')
    this.name = 'FeedConflict'
  }
}

/** The stream of events in JetStream. */
export interface EventStream extends Disposable {
  /** Makes the stream if it is not there and says where it ends. */
  end(): Promise<StreamEnd>
  /** Removes it with all messages. */
  remove(): Promise<void>
  /**
   * Appends events that follow each other, after a message of this number; `previous` is the event before the first of
   * them when this session wrote that one. Answers whether all of them were there already.
   *
   * @throws FeedConflict when the stream has another end
   */
  append(events: readonly LogEntry[], after: number, logId: string, previous?: number): Promise<{ repeated: boolean }>
}

/** JetStream keeps events this much longer than the log, so that its last message tells what was published. */
const surplusAge = 3_600_000
/** Bytes that a message's headers may take. */
const headroom = 2_048

const wrongLastMessageId = 10_070
const wrongLastSequence = 10_071
const streamNotFound = 10_059
const noMessageFound = 10_037

const apiCode = (error: unknown) => (error instanceof NatsError ? error.api_error?.err_code : undefined)

/** An acknowledgement of a message that is stored. */
function storedAt(ack: PublishAck): PublishAck {
  const { error } = ack
  if (error === undefined) return ack
  if (error.err_code === wrongLastSequence || error.err_code === wrongLastMessageId) throw new FeedConflict()
  throw new NatsError(`JetStream refused an event: ${error.description}`, String(error.err_code))
}

/** @param replicas servers that keep it; one that was made with another number gets this one */
export function createEventStream(
  nats: NatsConnection,
  retention: Retention = defaultRetention,
  replicas = 1,
): EventStream {
  let inbox: AckInbox | undefined
  let manager: JetStreamManager | undefined
  const managing = async () => {
    manager ??= await nats.jetstreamManager({ checkAPI: false })
    return manager
  }

  async function info() {
    const { streams } = await managing()
    try {
      const found = await streams.info(eventsStream)
      if (found.config.num_replicas === replicas) return found
      return await streams.update(eventsStream, { ...found.config, num_replicas: replicas })
    } catch (error) {
      if (apiCode(error) !== streamNotFound) throw error
      // Two processes that find it missing make it with the same settings, which is no error.
      return await streams.add({
        name: eventsStream,
        description: 'Events of all namespaces in the order of the log; Flotilla-Sequence is the number there',
        subjects: [allEvents],
        storage: StorageType.File,
        retention: RetentionPolicy.Limits,
        max_age: nanos(retention.age + surplusAge),
        max_msgs: retention.count,
        num_replicas: replicas,
      })
    }
  }

  return {
    async end() {
      const { state } = await info()
      const { streams } = await managing()
      // Messages that are not ours may be in between: the subjects are open to whoever may publish.
      for (let at = state.last_seq; state.messages > 0 && at >= state.first_seq; at--) {
        try {
          const message = await streams.getMessage(eventsStream, { seq: at })
          const sequence = Number(message.header.get(eventHeaders.sequence))
          if (sequence > 0) {
            const logId = message.header.get(eventHeaders.log)
            return { streamSequence: state.last_seq, last: { sequence, logId, bytes: message.data } }
          }
        } catch (error) {
          if (apiCode(error) !== noMessageFound) throw error
        }
      }
      return { streamSequence: state.last_seq, last: undefined }
    },
    async remove() {
      const { streams } = await managing()
      await streams.delete(eventsStream).catch((error: unknown) => {
        if (apiCode(error) !== streamNotFound) throw error
      })
    },
    async append(events, after, logId, previous) {
      if (inbox === undefined || inbox.closed) inbox = createAckInbox(nats)
      const limit = (nats.info?.max_payload ?? 1024 * 1024) - headroom
      const acks: Promise<PublishAck>[] = []
      for (const [index, event] of events.entries()) {
        const { namespace, topic } = event.envelope
        const oversize = event.bytes.length > limit
        const header = headers()
        header.append(eventHeaders.sequence, String(event.sequence))
        header.append(eventHeaders.namespace, namespace)
        header.append(eventHeaders.topic, topic)
        header.append(eventHeaders.node, event.node)
        header.append(eventHeaders.log, logId)
        if (oversize) header.append(eventHeaders.oversize, String(event.bytes.length))
        header.append('Nats-Msg-Id', String(event.sequence))
        header.append('Nats-Expected-Stream', eventsStream)
        // After a restart the server may have forgotten the last message's id, but never its number. Both together also
        // refuse a message that was late on its way while the stream was wiped and filled again.
        header.append('Nats-Expected-Last-Sequence', String(after + index))
        const before = index === 0 ? previous : events[index - 1]?.sequence
        if (before !== undefined) header.append('Nats-Expected-Last-Msg-Id', String(before))
        const options: PublishOptions = { headers: header }
        // Each message is refused unless it is behind the one before it: so the last one speaks for all. The first one
        // tells the cause when none is taken.
        if (index === 0 || index === events.length - 1) {
          const { reply, ack } = inbox.expect()
          options.reply = reply
          acks.push(ack)
        }
        nats.publish(eventSubject(namespace, topic), oversize ? new Uint8Array() : event.bytes, options)
      }
      const [first, last = first] = (await Promise.all(acks)).map(storedAt)
      if (first?.seq !== after + 1 || last?.seq !== after + events.length) throw new FeedConflict()
      return { repeated: last.duplicate === true }
    },
    [Symbol.dispose]() {
      inbox?.[Symbol.dispose]()
    },
  }
}
