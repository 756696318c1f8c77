import type { Any } from '@flotilla/api/google/protobuf/any'
import { canceled } from '@flotilla/rpc'

interface Waiting {
  readonly message: Any
  readonly taken: PromiseWithResolvers<void>
}

/** A client's stream as the call that uses it sees it. */
export class OpenStream {
  readonly #incoming: AsyncIterator<Any>
  readonly #signal: AbortSignal
  readonly #waiting: Waiting[] = []
  readonly #aborted: Promise<never>
  #wake = Promise.withResolvers<void>()
  #closed = false

  /** @param signal aborts when the client has gone */
  constructor(incoming: AsyncIterator<Any>, signal: AbortSignal) {
    this.#incoming = incoming
    this.#signal = signal
    const aborted = Promise.withResolvers<never>()
    this.#aborted = aborted.promise
    this.#aborted.catch(() => {})
    const onAbort = () => {
      const gone = canceled('the client left the stream', { cause: signal.reason })
      aborted.reject(gone)
      for (const { taken } of this.#waiting.splice(0)) taken.reject(gone)
      this.#wake.resolve()
    }
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  }

  /** The client's next message; undefined when it sends no more. One caller at a time. */
  async receive(): Promise<Any | undefined> {
    const next = await Promise.race([this.#incoming.next(), this.#aborted])
    return next.done ? undefined : next.value
  }

  /** Resolves when the client's connection has taken the message. */
  async send(message: Any): Promise<void> {
    if (this.#closed) throw canceled('the stream is closed')
    this.#signal.throwIfAborted()
    const taken = Promise.withResolvers<void>()
    this.#waiting.push({ message, taken })
    this.#wake.resolve()
    await taken.promise
  }

  /** Ends the stream once what was sent is taken. */
  close(): void {
    this.#closed = true
    this.#wake.resolve()
  }

  /** What goes to the client, to its end. */
  async *outgoing(): AsyncGenerator<Any> {
    for (;;) {
      const next = this.#waiting.shift()
      if (next !== undefined) {
        yield next.message
        next.taken.resolve()
        continue
      }
      this.#signal.throwIfAborted()
      if (this.#closed) return
      this.#wake = Promise.withResolvers()
      await this.#wake.promise
    }
  }
}
