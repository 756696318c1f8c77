import { hasCode, status } from '@flotilla/rpc'

/** What a client was told of a call: it was done, it was refused for that reason, or nobody knows. */
export type Outcome = 'done' | 'refused' | 'unknown'

/** What became of one record, as the one client that writes it was told. Its value is undefined while it is absent. */
export interface Told {
  readonly kind: string
  readonly id: string
  /** What it may be now: one value, or two after a call of which nobody knows. */
  may: ReadonlyArray<string | undefined>
  /** Topics of the events that must have been told, in order. */
  readonly events: string[]
  /** Of the call that nobody knows of; no other follows it. */
  unknown: string | undefined
}

/** The log of calls and what is wrong in it. */
export class History {
  readonly records = new Map<string, Told>()
  readonly complaints: string[] = []
  done = 0
  unknown = 0

  /** Carries out a change of a record from what it surely is to `value`. */
  async change(told: Told, value: string | undefined, topic: string, call: () => Promise<unknown>): Promise<Outcome> {
    this.records.set(`${told.kind} ${told.id}`, told)
    const before = told.may
    const outcome = await this.attempt(call, `${topic || told.kind} ${told.id}`, [])
    if (outcome === 'done') {
      told.may = [value]
      if (topic !== '') told.events.push(topic)
    } else if (outcome === 'unknown') {
      told.may = [...before, value]
      told.unknown = topic
    }
    return outcome
  }

  /** Runs a call; a failure that is none of `expected`, nor that of a store or node that is away, is a complaint. */
  async attempt(call: () => Promise<unknown>, what: string, expected: readonly number[]): Promise<Outcome> {
    try {
      await call()
      this.done++
      return 'done'
    } catch (error) {
      if (expected.some((code) => hasCode(error, code))) return 'refused'
      // As with a connection that broke, the change may have been made; after "gc failed" it has, what follows has not.
      const away = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED]
      const collecting = hasCode(error, status.UNKNOWN) && error instanceof Error && error.message === 'gc failed'
      if (collecting || away.some((code) => hasCode(error, code))) {
        this.unknown++
        return 'unknown'
      }
      this.complaints.push(`${what}: ${String(error)}`)
      return 'refused'
    }
  }

  /** Holds what there is against what was told. */
  compare(kind: string, found: ReadonlyMap<string, string>): void {
    for (const told of this.records.values()) {
      if (told.kind !== kind) continue
      const is = found.get(told.id)
      if (!told.may.includes(is))
        this.complaints.push(`${kind} ${told.id} is ${is}, must be ${told.may.map(String).join(' or ')}`)
    }
    for (const id of found.keys())
      if (!this.records.has(`${kind} ${id}`)) this.complaints.push(`${kind} ${id} is there and nobody made it`)
  }

  /** Holds the events of each record against the calls that were acknowledged. */
  compareEvents(kind: string, found: ReadonlyMap<string, readonly string[]>): void {
    for (const { events, id, kind: its, unknown } of this.records.values()) {
      if (its !== kind) continue
      const topics = (found.get(id) ?? []).join(' ')
      const wanted = events.join(' ')
      const perhaps = unknown === undefined ? wanted : [...events, unknown].join(' ')
      if (topics !== wanted && topics !== perhaps)
        this.complaints.push(`${kind} ${id} had the events "${topics}", must have had "${wanted}"`)
    }
  }
}
