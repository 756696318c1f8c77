import {
  type ContentDefinition,
  WriteAction,
  WriteContentRequest,
  type WriteContentResponse,
} from '@flotilla/api/containerd/services/content/v1/content'
import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import { type Call, makeCall, type ServiceOf, unavailable } from '@flotilla/rpc'
import type { IngestBytes } from './bytes.ts'
import { type Algorithm, type Digest, parseDigest } from './digest.ts'
import { nextMessage } from './messages.ts'

/** Most bytes in one message; those of clients may be as large as gRPC allows, and ours has a ref beside them. */
const messageBytes = 4 * 1024 * 1024

/** Milliseconds for the other program to let go of an ingest. */
const closeWithin = 10_000

/** An ingest that another program writes for us: one stream of messages, each with its answer. */
export class ProxiedIngest implements IngestBytes {
  readonly #ref: string
  /** Ends the wait for an answer. */
  readonly #signal: AbortSignal
  readonly #stream = new AbortController()
  readonly #answers: AsyncIterator<WriteContentResponse>
  #next = Promise.withResolvers<WriteContentRequest | undefined>()
  #state: 'open' | 'broken' | 'committed' = 'open'
  #length = 0
  #digest: Digest | undefined

  private constructor(remote: ServiceOf<ContentDefinition>, ref: string, namespace: string, signal: AbortSignal) {
    this.#ref = ref
    this.#signal = signal
    const call: Call = makeCall({ namespace, signal: this.#stream.signal })
    this.#answers = remote.write(this.#requests(), call)[Symbol.asyncIterator]()
  }

  /** @throws UNAVAILABLE while somebody else writes the ingest, or the program does not run */
  static async open(
    remote: ServiceOf<ContentDefinition>,
    ingest: { readonly ref: string; readonly namespace: string; readonly total: number },
    signal: AbortSignal,
  ): Promise<ProxiedIngest> {
    const opened = new ProxiedIngest(remote, ingest.ref, ingest.namespace, signal)
    await opened.#send({ action: WriteAction.STAT, total: ingest.total })
    return opened
  }

  get length(): number {
    return this.#length
  }

  digest(): Digest | undefined {
    return this.#digest
  }

  async digestAs(algorithm: Algorithm): Promise<Digest | undefined> {
    return this.#digest?.algorithm === algorithm ? this.#digest : undefined
  }

  async append(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += messageBytes) {
      const piece = data.subarray(at, at + messageBytes)
      await this.#send({ action: WriteAction.WRITE, offset: this.#length, data: Buffer.from(piece) })
    }
  }

  async truncate(): Promise<void> {
    await this.#send({ action: WriteAction.WRITE, offset: 0 })
  }

  /** @throws ALREADY_EXISTS when the program has the blob, FAILED_PRECONDITION when the bytes are not what is expected */
  async commit(expected: Digest, labels: Record<string, string>): Promise<void> {
    const { length } = this
    await this.#send({ action: WriteAction.COMMIT, offset: length, total: length, expected: expected.text, labels })
    this.#state = 'committed'
  }

  /** Returns when the other program has let go of it, so that the next one to open it is not refused. */
  async close(_leftAt?: Timestamp): Promise<void> {
    this.#next.resolve(undefined)
    try {
      if (this.#state !== 'broken') await nextMessage(this.#answers, AbortSignal.timeout(closeWithin))
    } finally {
      this.#stream.abort()
    }
  }

  async #send(message: Partial<WriteContentRequest>): Promise<void> {
    if (this.#state === 'broken') throw unavailable(`the content plugin has ended the writing of ${this.#ref}`)
    this.#next.resolve(WriteContentRequest.fromPartial({ ref: this.#ref, ...message }))
    try {
      const answer = await nextMessage(this.#answers, this.#signal)
      if (answer === undefined) throw unavailable(`the content plugin has ended the writing of ${this.#ref}`)
      this.#length = answer.offset
      this.#digest = answer.digest === '' ? undefined : parseDigest(answer.digest)
    } catch (error) {
      this.#state = 'broken'
      this.#stream.abort()
      throw error
    }
  }

  async *#requests(): AsyncGenerator<WriteContentRequest> {
    for (;;) {
      const message = await this.#next.promise
      if (message === undefined) return
      this.#next = Promise.withResolvers()
      yield message
    }
  }
}
