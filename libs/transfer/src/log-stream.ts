import { sendBytes } from './byte-stream.ts'
import type { OpenStream } from './open-stream.ts'

/** Bytes that wait for a client; what comes while so many wait is left out, and said to be. */
const mostWaiting = 1024 * 1024
/** Milliseconds that the end waits for a client that takes its time. */
const patience = 2_000

/** Text for a client's stream, which nobody waits for until the end; a client that does not take it loses it. */
export class LogStream implements AsyncDisposable {
  readonly #stream: OpenStream
  readonly #sent: Promise<void>
  #waiting: Buffer[] = []
  #size = 0
  #lost = 0
  #ended = false
  #wake = Promise.withResolvers<void>()

  constructor(stream: OpenStream) {
    this.#stream = stream
    // Its reader may go; what is told of goes on.
    this.#sent = sendBytes(stream, this.#pieces()).catch(() => this.#end())
  }

  write(text: string): void {
    if (this.#ended) return
    const bytes = Buffer.from(text)
    if (this.#size + bytes.length > mostWaiting) {
      this.#lost += bytes.length
      return
    }
    this.#push(bytes)
  }

  /** Returns when the client has everything, or has had its time. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end()
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, patience)
    await Promise.race([this.#sent, late.promise])
    clearTimeout(timer)
    this.#stream.close()
  }

  #push(bytes: Buffer): void {
    this.#waiting.push(bytes)
    this.#size += bytes.length
    this.#wake.resolve()
  }

  #end(): void {
    this.#ended = true
    this.#wake.resolve()
  }

  async *#pieces(): AsyncGenerator<Buffer> {
    for (;;) {
      const pieces = this.#waiting.splice(0)
      this.#size = 0
      yield* pieces
      if (this.#lost > 0) {
        yield Buffer.from(`(${this.#lost} bytes left out)\n`)
        this.#lost = 0
      }
      if (this.#waiting.length > 0) continue
      if (this.#ended) return
      this.#wake = Promise.withResolvers()
      await this.#wake.promise
    }
  }
}
