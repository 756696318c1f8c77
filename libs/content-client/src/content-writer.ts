import {
  type ContentDefinition,
  WriteContentRequest,
  type WriteContentResponse,
} from '@flotilla/api/containerd/services/content/v1/content'
import { type Call, internal, type ServiceOf, withCall } from '@flotilla/rpc'

/**
 * A Content.Write stream, one message and its answer at a time. Disposing ends the stream; without a COMMIT the ingest
 * stays and is free for the next writer.
 */
export class ContentWriter implements AsyncDisposable {
  readonly #answers: AsyncIterator<WriteContentResponse>
  readonly #ending = new AbortController()
  readonly #lost = new AbortController()
  #answer: Promise<IteratorResult<WriteContentResponse>>
  #deliver: ((request: WriteContentRequest | undefined) => void) | undefined
  #next: Promise<WriteContentRequest | undefined>

  constructor(content: ServiceOf<typeof ContentDefinition>, call: Call) {
    this.#next = this.#expect()
    const signal = AbortSignal.any([call.signal, this.#ending.signal])
    this.#answers = content.write(this.#requests(), withCall(call, { signal }))[Symbol.asyncIterator]()
    this.#answer = this.#ask()
  }

  /** Aborted, with the error, when the store ends the write; whoever waits for bytes to send need not wait any more. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  async send(request: Partial<WriteContentRequest>): Promise<WriteContentResponse> {
    this.#deliver?.(WriteContentRequest.fromPartial(request))
    const answer = await this.#answer
    this.#answer = this.#ask()
    if (answer.done === true) throw internal('content store ended a write without an answer')
    return answer.value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#deliver?.(undefined)
    // The answers end by themselves when the requests do; a store that does not see this is told by the signal.
    const end = this.#answer.catch(() => undefined)
    const timer = setTimeout(() => this.#ending.abort(), 1000)
    await end
    clearTimeout(timer)
  }

  /** Asked for before it is due, so that an end that nobody asked for is heard of. */
  #ask(): Promise<IteratorResult<WriteContentResponse>> {
    const answer = this.#answers.next()
    answer.catch((error: unknown) => this.#lost.abort(error))
    return answer
  }

  #expect(): Promise<WriteContentRequest | undefined> {
    return new Promise((resolve) => {
      this.#deliver = resolve
    })
  }

  async *#requests(): AsyncGenerator<WriteContentRequest> {
    for (;;) {
      const request = await this.#next
      if (request === undefined) return
      this.#next = this.#expect()
      yield request
    }
  }
}
