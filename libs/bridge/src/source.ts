import type { Readable } from 'node:stream'

/** A stream that is read by one after another: what a reader did not get to take is the next one's. */
export class Source {
  readonly #iterator: AsyncIterator<Buffer>
  #next: Promise<IteratorResult<Buffer>> | undefined
  #turn = 0

  constructor(stream: Readable) {
    this.#iterator = stream.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
  }

  /** Ends the present reader's turn. */
  stop(): void {
    this.#turn++
  }

  async *take(): AsyncGenerator<Buffer> {
    const turn = ++this.#turn
    for (;;) {
      this.#next ??= this.#iterator.next()
      const next = await this.#next
      if (turn !== this.#turn || next.done) return
      this.#next = undefined
      yield next.value
    }
  }
}
