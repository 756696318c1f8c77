import { setImmediate as nextTurn } from 'node:timers/promises'

/** Milliseconds that a collection computes before others in its process get their turn. */
const slice = 3

/** Keeps long computations from holding up the process: `if (pace.spent()) await pace.rest()` in every long loop. */
export class Pace {
  readonly #signal: AbortSignal
  #since = performance.now()
  #count = 0

  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  /** Whether the slice is used up. Cheap enough for every step of a loop: it asks the clock each sixteenth time. */
  spent(): boolean {
    return (++this.#count & 15) === 0 && performance.now() - this.#since > slice
  }

  /** To be called after waiting for something else: others had their turn meanwhile. */
  fresh(): void {
    this.#signal.throwIfAborted()
    this.#since = performance.now()
  }

  async rest(): Promise<void> {
    await nextTurn()
    this.fresh()
  }
}
