/**
 * The messages of a stream, one asked for after the other, until a signal aborts. The iterator is not told of that: one
 * that waits for a client that has gone may never answer.
 */
export class Messages<T> implements Disposable {
  readonly #iterator: AsyncIterator<T>
  readonly #signal: AbortSignal
  // No race with a promise that lives as long as the stream: that would keep every message of it in memory.
  #reject: ((reason: unknown) => void) | undefined
  readonly #onAbort = () => this.#reject?.(this.#signal.reason)

  constructor(iterator: AsyncIterator<T>, signal: AbortSignal) {
    this.#iterator = iterator
    this.#signal = signal
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** The next one; undefined at the end of the stream. Rejects with the signal's reason when that comes first. */
  next(): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#signal.throwIfAborted()
      this.#reject = reject
      this.#iterator.next().then((next) => resolve(next.done ? undefined : next.value), reject)
    })
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
  }
}

/** One message of a stream, or undefined at its end; see {@link Messages}. */
export async function nextMessage<T>(iterator: AsyncIterator<T>, signal: AbortSignal): Promise<T | undefined> {
  using messages = new Messages(iterator, signal)
  return await messages.next()
}
