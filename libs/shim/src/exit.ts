import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'

/** How a process ended. */
export interface Exit {
  readonly pid: number
  readonly status: number
  readonly at: Timestamp
}

export function now(): Timestamp {
  const milliseconds = Date.now()
  return { seconds: Math.floor(milliseconds / 1000), nanos: (milliseconds % 1000) * 1_000_000 }
}

/** Whether a time was set at all: shims send Go's zero time, in year 1, or nothing for processes that run. */
export function isSet(time: Timestamp | undefined): time is Timestamp {
  return time !== undefined && (time.seconds > 0 || time.nanos > 0)
}
