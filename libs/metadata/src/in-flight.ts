/** At most so many pieces of work at once; the others wait in the order in which they came. */
export class InFlight {
  #free: number
  // A set keeps the order of coming, and its first is taken away at no cost however many there are.
  readonly #waiting = new Set<() => void>()

  constructor(most: number) {
    this.#free = most
  }

  /** Does the work when it is its turn. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>((begin) => this.#waiting.add(begin))
    try {
      return await work()
    } finally {
      const [begin] = this.#waiting
      if (begin === undefined) this.#free++
      else {
        this.#waiting.delete(begin)
        begin()
      }
    }
  }
}
