/**
 * Messages of one stream on their way to whoever reads them: `put` never blocks (ttrpc has no flow control), reading is
 * by `for await`. After `end` the reader drains what was put; after `fail` it does too, then throws.
 */
export class Inbox<T> implements AsyncIterableIterator<T> {
  #items: T[] = []
  #done = false
  #error: unknown
  #wake: (() => void) | undefined
  readonly #onLeave: () => void

  /** `onLeave` runs when the reader stops before the end. */
  constructor(onLeave: () => void = () => {}) {
    this.#onLeave = onLeave
  }

  put(item: T): void {
    if (this.#done) return
    this.#items.push(item)
    this.#wake?.()
  }

  end(): void {
    this.#done = true
    this.#wake?.()
  }

  fail(error: unknown): void {
    if (this.#done) return
    this.#error = error
    this.end()
  }

  async next(): Promise<IteratorResult<T>> {
    for (;;) {
      if (this.#items.length > 0) return { done: false, value: this.#items.shift() as T }
      if (this.#error !== undefined) {
        const error = this.#error
        this.#error = undefined
        throw error
      }
      if (this.#done) return { done: true, value: undefined }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }

  async return(): Promise<IteratorResult<T>> {
    if (!this.#done) this.#onLeave()
    this.#items = []
    this.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
