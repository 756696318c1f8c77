import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'

/** Milliseconds are all that a Date holds. */
export function dateOf(timestamp: Timestamp | undefined): Date {
  return new Date((timestamp?.seconds ?? 0) * 1_000 + Math.floor((timestamp?.nanos ?? 0) / 1e6))
}

export function timestampOf(date: Date): Timestamp {
  const seconds = Math.floor(date.getTime() / 1_000)
  return { seconds, nanos: (date.getTime() - seconds * 1_000) * 1e6 }
}
