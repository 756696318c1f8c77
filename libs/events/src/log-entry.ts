import { Envelope } from '@flotilla/api/containerd/types/types'
import { type Adaptor, eventFields } from '@flotilla/filters'
import type { LoggedEvent } from '@flotilla/metadata'
import { decodedAnswer, inOwnMemory } from '@flotilla/rpc'
import { idMillis } from './stream-id.ts'
import { type StreamEntry, textField } from './stream-reply.ts'

/** One event of the log. All subscribers share it, so it is decoded once, and only if one of them looks. */
export class LogEntry {
  /** 1, 2, 3, …; no number is left out. */
  readonly sequence: number
  /** The envelope as it is on the wire. */
  readonly bytes: Buffer
  /** Where it happened. */
  readonly node: string
  /** Its id in the outbox of its namespace. */
  readonly outbox: string
  /** When it was moved into the log, milliseconds since the epoch; never less than before. */
  readonly at: number
  #envelope: Envelope | undefined
  #fields: Adaptor | undefined

  /** @param outbox its id in the outbox of its namespace; without one, where it would be there */
  constructor(
    { sequence, envelope, node, at }: LoggedEvent,
    // As the script gives it to events that go straight to the log.
    outbox = `${at}-${sequence}`,
  ) {
    this.sequence = sequence
    // Thousands are kept.
    this.bytes = envelope.length === envelope.buffer.byteLength ? envelope : inOwnMemory(envelope)
    this.node = node
    this.outbox = outbox
    this.at = at
  }

  /** As it is in the store. */
  static stored(entry: StreamEntry): LogEntry {
    const { id, fields } = entry
    return new LogEntry(
      {
        sequence: Number(id.slice(0, id.indexOf('-'))),
        envelope: fields.get('envelope') ?? Buffer.alloc(0),
        node: textField(entry, 'node'),
        at: Number(textField(entry, 'at')),
      },
      textField(entry, 'outbox'),
    )
  }

  /** When Redis acknowledged it, milliseconds since the epoch. */
  get recordedAt(): number {
    return idMillis(this.outbox)
  }

  get envelope(): Envelope {
    this.#envelope ??= decodedAnswer(Envelope, this.bytes)
    return this.#envelope
  }

  /** What filters look at. */
  get fields(): Adaptor {
    this.#fields ??= eventFields(this.envelope)
    return this.#fields
  }
}
