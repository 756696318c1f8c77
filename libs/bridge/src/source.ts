import type { Readable } from 'node:stream'

/**
 * A stream that is read by one after another: what a reader did not get to take is the next one's. Once lent, it is no
 * more for those who had it before.
 */
export class Source {
  readonly #iterator: AsyncIterator<Buffer>
  readonly #ended = Promise.withResolvers<void>()
  #next: Promise<IteratorResult<Buffer>> | undefined
  #turn = 0
  #isLent = false

  constructor(stream: Readable) {
    this.#iterator = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
  }

  /** Resolves when all of it has been taken. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  get isLent(): boolean {
    return this.#isLent
  }

  /** Ends the present reader's turn. */
  stop(): void {
    this.#turn++
  }

  /** As {@link take}, for one who has it from now on. */
  lend(): AsyncGenerator<Buffer> {
    this.#isLent = true
    return this.#read()
  }

  /** Gives what comes until the next reader's turn, or the end; nothing of what is lent. */
  async *take(): AsyncGenerator<Buffer> {
    if (!this.#isLent) yield* this.#read()
  }

  async *#read(): AsyncGenerator<Buffer> {
    const turn = ++this.#turn
    for (;;) {
      this.#next ??= this.#iterator.next()
      const next = await this.#next
      if (turn !== this.#turn) return
      if (next.done) {
        this.#ended.resolve()
        return
      }
      this.#next = undefined
      yield next.value
    }
  }
}
