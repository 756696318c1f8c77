import type { LogEntry } from './log-entry.ts'

/** How much of the log's end is held in memory. */
export interface WindowLimits {
  readonly events: number
  /** Of encoded envelopes. */
  readonly bytes: number
}

const defaults: WindowLimits = { events: 10_000, bytes: 16 * 1024 * 1024 }

/** The newest events, without a gap. */
export interface Window {
  /** Oldest sequence number held; `last + 1` when none is. */
  readonly first: number
  readonly last: number
  push(entry: LogEntry): void
  /** Up to `count` events from a sequence number that is not before {@link Window.first}. */
  slice(from: number, count: number): readonly LogEntry[]
  /** Drops everything; the next event pushed has this sequence number. */
  restart(next: number): void
}

export function createWindow(limits: WindowLimits = defaults): Window {
  let entries: LogEntry[] = []
  let first = 1
  let bytes = 0

  return {
    get first() {
      return first
    },
    get last() {
      return first + entries.length - 1
    },
    push(entry) {
      entries.push(entry)
      bytes += entry.bytes.length
      if (entries.length <= limits.events && bytes <= limits.bytes) return
      // A quarter at once, so that moving the rest of the array costs little per event.
      const drop = Math.max(1, Math.ceil(entries.length / 4))
      for (const gone of entries.slice(0, drop)) bytes -= gone.bytes.length
      entries = entries.slice(drop)
      first += drop
    },
    slice(from, count) {
      return entries.slice(from - first, from - first + count)
    },
    restart(next) {
      entries = []
      bytes = 0
      first = next
    },
  }
}
