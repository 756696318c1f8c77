import { setImmediate } from 'node:timers/promises'

/** Milliseconds of work in one go. Others' calls wait at most this long for a walk over a large tree. */
const longest = 8

/** Divides long synchronous work into short turns. */
export interface Turns {
  /** Whether the present turn has lasted long enough. */
  due(): boolean
  /** Lets everything else run, then begins a new turn. Throws the signal's reason when it was aborted. */
  next(): Promise<void>
}

/** Begins the first turn; throws the signal's reason when it is aborted already. */
export function takeTurns(signal: AbortSignal): Turns {
  signal.throwIfAborted()
  let end = performance.now() + longest
  return {
    due: () => performance.now() >= end,
    async next() {
      await setImmediate()
      signal.throwIfAborted()
      end = performance.now() + longest
    },
  }
}
