import { Envelope } from '@flotilla/api/containerd/types/types'
import { type Adaptor, eventFields } from '@flotilla/filters'
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

  constructor(entry: StreamEntry) {
    this.sequence = Number(entry.id.slice(0, entry.id.indexOf('-')))
    this.bytes = entry.fields.get('envelope') ?? Buffer.alloc(0)
    this.node = textField(entry, 'node')
    this.outbox = textField(entry, 'outbox')
    this.at = Number(textField(entry, 'at'))
  }

  /** When Redis acknowledged it, milliseconds since the epoch. */
  get recordedAt(): number {
    return idMillis(this.outbox)
  }

  get envelope(): Envelope {
    this.#envelope ??= Envelope.decode(this.bytes)
    return this.#envelope
  }

  /** What filters look at. */
  get fields(): Adaptor {
    this.#fields ??= eventFields(this.envelope)
    return this.#fields
  }
}
