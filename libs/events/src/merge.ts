import { idMillis } from './stream-id.ts'
import { type StreamEntry, textField } from './stream-reply.ts'

/** An event in the outbox of its namespace. */
export interface Pending {
  readonly namespace: string
  readonly entry: StreamEntry
}

interface Rank {
  readonly ms: number
  readonly seconds: number
  readonly nanos: number
}

function rankOf({ entry }: Pending): Rank {
  const [seconds, nanos] = textField(entry, 'time').split('.')
  return { ms: idMillis(entry.id), seconds: Number(seconds), nanos: Number(nanos) }
}

const before = (a: Rank, b: Rank) => (a.ms - b.ms || a.seconds - b.seconds || a.nanos - b.nanos) < 0

/**
 * Brings outboxes, each in its own order, into one: by the millisecond in which the store recorded an event, and within
 * one by the event's own time, which orders what one process did even faster than that.
 */
export function merge(outboxes: ReadonlyArray<readonly Pending[]>): Pending[] {
  const heads = outboxes.flatMap((events) => {
    const [event] = events
    return event === undefined ? [] : [{ events, at: 0, event, rank: rankOf(event) }]
  })
  const merged: Pending[] = []
  while (heads.length > 0) {
    let least = 0
    for (let index = 1; index < heads.length; index++) {
      const [candidate, best] = [heads[index], heads[least]]
      if (candidate && best && before(candidate.rank, best.rank)) least = index
    }
    const head = heads[least]
    if (head === undefined) break
    merged.push(head.event)
    head.at++
    const next = head.events[head.at]
    if (next === undefined) heads.splice(least, 1)
    else {
      head.event = next
      head.rank = rankOf(next)
    }
  }
  return merged
}
