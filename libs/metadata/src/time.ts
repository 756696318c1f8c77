import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'

const startedAt = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint()
let last = 0n

/**
 * The time now in UTC with nanoseconds. Never the same or earlier twice in a process, so that records made one after
 * the other sort so.
 */
export function now(): Timestamp {
  const wall = BigInt(Date.now()) * 1_000_000n
  const steady = startedAt + process.hrtime.bigint()
  // The steady clock gives the nanoseconds; the wall clock corrects it when the system's time was set.
  const drift = steady - wall
  const time = drift > 50_000_000n || drift < -50_000_000n ? wall : steady
  last = time > last ? time : last + 1n
  return { seconds: Number(last / 1_000_000_000n), nanos: Number(last % 1_000_000_000n) }
}

/** Milliseconds since the epoch. */
export const toMillis = (time: Timestamp): number => time.seconds * 1_000 + Math.floor(time.nanos / 1_000_000)

/** From milliseconds since the epoch. */
export const fromMillis = (ms: number): Timestamp => ({
  seconds: Math.floor(ms / 1_000),
  nanos: Math.floor((ms % 1_000) * 1_000_000),
})
