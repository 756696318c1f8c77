import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'

/** RFC 3339 with nanoseconds, in UTC. */
export function formatTime(time: Timestamp): string {
  const seconds = new Date(time.seconds * 1_000).toISOString().slice(0, 19)
  return `${seconds}.${String(time.nanos).padStart(9, '0')}Z`
}

/** Reads what {@link formatTime} and Go write; undefined for anything else. */
export function parseTime(text: string): Timestamp | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text.trim())
  if (match === null) return undefined
  const ms = Date.parse(`${match[1]}${match[3]}`)
  return Number.isNaN(ms) ? undefined : { seconds: ms / 1_000, nanos: Number((match[2] ?? '').padEnd(9, '0')) }
}

/** From nanoseconds since the epoch, as stat gives them. */
export const fromNanos = (nanos: bigint): Timestamp => ({
  seconds: Number(nanos / 1_000_000_000n),
  nanos: Number(nanos % 1_000_000_000n),
})

export const later = (a: Timestamp, b: Timestamp): Timestamp =>
  a.seconds > b.seconds || (a.seconds === b.seconds && a.nanos > b.nanos) ? a : b
