/** One holder at a time for each key; those who wait are served in order. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>()

  /** Runs work while holding the key. A waiter whose signal aborts leaves with the signal's reason. */
  async run<T>(key: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve()
    const { promise: mine, resolve: release } = Promise.withResolvers<void>()
    const tail = before.then(() => mine)
    this.#tails.set(key, tail)
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key)
    })
    try {
      await before
      signal?.throwIfAborted()
      return await work()
    } finally {
      release()
    }
  }

  /** Resolves when nobody holds or waits for any key. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values())
  }
}
