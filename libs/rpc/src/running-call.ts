import type { AnswerRooms } from './answer-rooms.ts'
import type { Call } from './call.ts'
import { canceled, type RpcError } from './errors.ts'
import type { FramedBytes } from './http2/framed-bytes.ts'
import type { CallTaker, IncomingCall } from './incoming-call.ts'

const nobody = () => {}

/**
 * A call that is being answered. Whatever its method waits for, a call that is cut (by its client, its deadline or the
 * server's end) is over at once.
 */
export class RunningCall implements CallTaker {
  /** The call as it came, before anybody admitted it. */
  readonly call: Call
  readonly #incoming: IncomingCall
  readonly #controller = new AbortController()
  #wakeReader = () => {}
  #wakeWriter = () => {}
  #reject: ((reason: unknown) => void) | undefined
  /** Work that was begun and has not settled, also after the call is over. */
  #working = 0
  #idle = () => {}

  /** @param rooms for the answers of a method that has many */
  constructor(incoming: IncomingCall, rooms: AnswerRooms | undefined) {
    const { deadline, headers } = incoming
    const { lease, metadata, namespace } = headers
    this.#incoming = incoming
    this.call = { namespace, lease, metadata, signal: this.#controller.signal, deadline, rooms }
    incoming.taker = this
  }

  received(): void {
    this.#wakeReader()
  }

  drained(): void {
    this.#wakeWriter()
  }

  cut(): void {
    this.abort(canceled('the client ended the call'))
  }

  abort(reason: RpcError): void {
    this.#controller.abort(reason)
    this.#reject?.(reason)
    this.#wakeReader()
    this.#wakeWriter()
  }

  /** What a method's promise gives, unless the call is cut before: then it rejects with the reason. One at a time. */
  wait<T>(work: PromiseLike<T> | T): Promise<T> {
    // No race with a promise that lives as long as the call: that would keep every message of a stream in memory.
    return new Promise((resolve, reject) => {
      this.#reject = reject
      if (this.call.signal.aborted) reject(this.call.signal.reason)
      this.#follow(work, resolve, reject)
    })
  }

  /** Tells when nothing that the call began goes on any more, which can be after its end. */
  whenIdle(tell: () => void): void {
    if (this.#working === 0) tell()
    else this.#idle = tell
  }

  #follow<T>(work: PromiseLike<T> | T, done: (value: T) => void, failed: (reason: unknown) => void): void {
    this.#working++
    Promise.resolve(work).then(
      (value) => {
        this.#settled()
        done(value)
      },
      (reason) => {
        this.#settled()
        failed(reason)
      },
    )
  }

  #settled(): void {
    this.#working--
    if (this.#working === 0) this.#idle()
  }

  /** The requests of a stream, one at a time; its client may send no more than fit its window before they are taken. */
  async *requests(decode: (bytes: Buffer) => unknown): AsyncGenerator<unknown> {
    for (;;) {
      for (let bytes = this.#incoming.take(); bytes; bytes = this.#incoming.take()) yield decode(bytes)
      this.call.signal.throwIfAborted()
      if (this.#incoming.failure) throw this.#incoming.failure
      if (this.#incoming.ended) return
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve
      })
    }
  }

  /** Sends answers as fast as the client takes them. Rejects when the call was cut. */
  async send(
    answers: AsyncIterable<unknown>,
    encode: (answer: unknown) => Buffer | readonly Buffer[] | FramedBytes,
  ): Promise<void> {
    const iterator = answers[Symbol.asyncIterator]()
    const { signal } = this.call
    let finished = false
    try {
      for (;;) {
        // What fails on its own has ended itself.
        finished = true
        const next = await this.wait(iterator.next())
        if (next.done) return
        finished = false
        if (this.#incoming.write(encode(next.value))) continue
        await new Promise<void>((resolve) => {
          this.#wakeWriter = resolve
          if (signal.aborted) resolve()
        })
        signal.throwIfAborted()
      }
    } finally {
      // Not awaited: a generator blocked in its own await only ends when that settles, which its signal brings about.
      if (!finished || signal.aborted) this.#follow(iterator.return?.(), nobody, nobody)
    }
  }
}
