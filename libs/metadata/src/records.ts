import type { WireType } from '@flotilla/rpc'
import { aborted, encoded } from '@flotilla/rpc'
import type { Plan } from './plan.ts'
import type { Metadata } from './store.ts'

/** A record as it is stored. */
export const encode: <T>(type: WireType<T>, record: T) => Buffer = encoded

/** One message of the events API, ready for {@link Plan.events}. Events' type URLs are bare message names. */
export function eventOf<T>(topic: string, typeUrl: string, type: WireType<T>, message: T) {
  return { topic, typeUrl, value: encode(type, message) }
}

export interface Update<T> {
  readonly namespace: string
  readonly table: string
  readonly field: string
  readonly type: WireType<T>
  /** Thrown when there is no record. */
  readonly missing: () => Error
  /** The record as it should become; throws to refuse. Called again when another writer came between. */
  readonly change: (stored: T) => T
  /** What goes with the write: events, touches, lease, further checks (whose index starts at 1) and writes. */
  readonly plan?: (next: T) => Plan
}

/** Reads a record, changes it and writes it back in one compare-and-swap; tries again when it lost a race. */
export async function updateRecord<T>(metadata: Metadata, update: Update<T>): Promise<T> {
  const { namespace, table, field, type } = update
  let stored = await metadata.get(namespace, table, field)
  // Every lost race means that another writer won, so this bound is only met when hundreds write one record at once.
  for (let attempt = 0; attempt < 1_000; attempt++) {
    if (stored === undefined) throw update.missing()
    const next = update.change(type.decode(stored))
    const extra = update.plan?.(next) ?? {}
    const outcome = await metadata.transact(namespace, {
      ...extra,
      checks: [{ is: 'equals', table, field, value: stored }, ...(extra.checks ?? [])],
      writes: [{ op: 'set', table, field, value: encode(type, next) }, ...(extra.writes ?? [])],
    })
    if (outcome.ok) return next
    if (outcome.check !== 0) throw aborted(`${table} "${field}" changed meanwhile`)
    stored = outcome.current
  }
  throw aborted(`${table} "${field}" is being changed by too many callers`)
}
