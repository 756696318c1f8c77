import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'

const millisecond = 1_000_000n
// To the microsecond; the wall clock that JavaScript reads knows only milliseconds, rounded down.
let offset = BigInt(Math.floor(performance.timeOrigin * 1_000)) * 1_000n - startOfSteadyClock()
let last = 0n

/** What the steady clock showed at performance.timeOrigin, nanoseconds. */
function startOfSteadyClock(): bigint {
  return process.hrtime.bigint() - BigInt(Math.floor(performance.now() * 1_000_000))
}

/**
 * The time now in UTC with nanoseconds, within microseconds of what other programs on this machine read, as clients
 * compare the two. Never the same or earlier twice in a process, so that records made one after the other sort so.
 */
export function now(): Timestamp {
  const earliest = BigInt(Date.now()) * millisecond
  const steady = offset + process.hrtime.bigint()
  const latest = BigInt(Date.now() + 1) * millisecond
  // The steady clock gives the nanoseconds; it is set anew when the system's time was.
  const time = steady < earliest ? earliest : steady > latest ? latest : steady
  offset += time - steady
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
