/** One at a time for each key, in the order of asking. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>()

  /**
   * Resolves when it is the caller's turn, which lasts until disposal.
   *
   * @throws the signal's reason when that aborts first, if there is one
   */
  async take(key: string, signal?: AbortSignal): Promise<Disposable> {
    const before = this.#last.get(key)
    const ended = Promise.withResolvers<void>()
    const mine = (before ?? Promise.resolve()).then(() => ended.promise)
    this.#last.set(key, mine)
    void mine.then(() => {
      if (this.#last.get(key) === mine) this.#last.delete(key)
    })
    try {
      if (before !== undefined) await (signal === undefined ? before : orAborted(before, signal))
    } catch (error) {
      ended.resolve()
      throw error
    }
    return { [Symbol.dispose]: () => ended.resolve() }
  }
}

async function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
