import type { Any } from '@flotilla/api/google/protobuf/any'
import { type Call, canceled, type RpcError } from '@flotilla/rpc'

interface Waiting {
  readonly message: Any
  readonly taken: PromiseWithResolvers<void>
}

/** A client's stream as the call that uses it sees it. */
export class OpenStream {
  readonly rooms: Call['rooms']
  readonly #incoming: AsyncIterator<Any>
  readonly #waiting: Waiting[] = []
  /** Those who wait for the client. */
  readonly #interrupts = new Set<(gone: RpcError) => void>()
  #gone: RpcError | undefined
  #wake = Promise.withResolvers<void>()
  #closed = false

  /**
   * @param signal aborts when the client has gone
   * @param rooms for messages with many bytes; see {@link Call}
   */
  constructor(incoming: AsyncIterator<Any>, { rooms, signal }: Pick<Call, 'rooms' | 'signal'>) {
    this.rooms = rooms
    this.#incoming = incoming
    const onAbort = () => {
      this.#gone = canceled('the client left the stream', { cause: signal.reason })
      for (const interrupt of this.#interrupts) interrupt(this.#gone)
      this.#wake.resolve()
    }
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  }

  /**
   * The client's next message; undefined when it sends no more. One caller at a time.
   *
   * @throws CANCELLED when the client has gone
   */
  async receive(): Promise<Any | undefined> {
    const next = await this.#unlessGone(this.#incoming.next())
    return next.done ? undefined : next.value
  }

  /** Resolves when the client's connection has taken the message. @throws CANCELLED when the client has gone */
  async send(message: Any): Promise<void> {
    if (this.#closed) throw canceled('the stream is closed')
    const taken = Promise.withResolvers<void>()
    this.#waiting.push({ message, taken })
    this.#wake.resolve()
    await this.#unlessGone(taken.promise)
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
      if (this.#gone !== undefined) throw this.#gone
      if (this.#closed) return
      this.#wake = Promise.withResolvers()
      await this.#wake.promise
    }
  }

  /** No race with a promise that lives as long as the stream: that would remember each message for so long. */
  #unlessGone<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#gone !== undefined) reject(this.#gone)
      this.#interrupts.add(reject)
      work.then(resolve, reject).finally(() => this.#interrupts.delete(reject))
    })
  }
}
