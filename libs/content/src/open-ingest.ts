import { Ingest } from '@flotilla/api/flotilla/metadata/v1/records'
import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import { encode, now, tables } from '@flotilla/metadata'
import { aborted, notFound, unavailable } from '@flotilla/rpc'
import { type Adopted, type IngestBytes, isAdopted } from './bytes.ts'
import type { Algorithm, Digest } from './digest.ts'
import { dataFile } from './ingest-directory.ts'
import type { Store } from './store.ts'
import type { WriterPlace } from './writers.ts'

export interface OpenIngestParts {
  readonly store: Store
  readonly place: WriterPlace
  readonly namespace: string
  /** The record, as it was written when the ingest was opened. */
  readonly record: Ingest
  /** As stored with the ingest; 0 when unsaid. */
  readonly total: number
  readonly algorithm: Algorithm
  readonly expected?: string | undefined
  readonly startedAt: Timestamp
  readonly updatedAt: Timestamp
  readonly bytes: IngestBytes | Adopted
}

/**
 * An ingest in the hands of its one writer. Its bytes are a file of its own or, until it is written to, those of a blob
 * that it adopts.
 */
export class OpenIngest {
  readonly namespace: string
  readonly ref: string
  readonly startedAt: Timestamp
  readonly total: number
  /** The digest that it is to have; undefined when nobody said. */
  readonly expected: string | undefined
  readonly #parts: OpenIngestParts
  #bytes: IngestBytes | Adopted
  #updatedAt: Timestamp
  #state: 'open' | 'finished' | 'taken away' | 'closed' = 'open'
  #handedBack = false
  #lastTurn: Promise<unknown> = Promise.resolve()

  constructor(parts: OpenIngestParts) {
    this.namespace = parts.namespace
    this.ref = parts.record.ref
    this.startedAt = parts.startedAt
    this.total = parts.total
    this.expected = parts.expected
    this.#parts = parts
    this.#bytes = parts.bytes
    this.#updatedAt = parts.updatedAt
  }

  get closed(): boolean {
    return this.#handedBack
  }

  /** Whether it was given back as it was, neither committed nor taken away. */
  get isLeft(): boolean {
    return this.#state === 'closed'
  }

  get updatedAt(): Timestamp {
    return this.#updatedAt
  }

  get adopts(): boolean {
    return isAdopted(this.#bytes)
  }

  get offset(): number {
    return isAdopted(this.#bytes) ? this.#bytes.size : this.#bytes.length
  }

  /** The file with its bytes, where they are files of this node. */
  get file(): string {
    const { layout } = this.#parts.store
    return isAdopted(this.#bytes) ? layout.blob(this.#bytes.digest) : dataFile(layout.ingest(this.namespace, this.ref))
  }

  /** Of its bytes so far; undefined where only the commit tells. */
  digest(): Digest | undefined {
    return isAdopted(this.#bytes) ? this.#bytes.digest : this.#bytes.digest()
  }

  async digestAs(algorithm: Algorithm, signal: AbortSignal): Promise<Digest | undefined> {
    if (!isAdopted(this.#bytes)) return await this.#bytes.digestAs(algorithm, signal)
    const { digest, size } = this.#bytes
    if (digest.algorithm === algorithm) return digest
    return await this.#parts.store.bytes.hash(digest, size, algorithm, signal)
  }

  /** Does one message's work. ABORTED once the ingest was taken away. */
  message<T>(work: () => Promise<T>): Promise<T> {
    return this.#inTurn(() => {
      if (this.#state === 'taken away') throw aborted(`ingest ${this.ref} was removed while it was written`)
      if (this.#state === 'closed') throw unavailable('the content service is stopping')
      return work()
    })
  }

  /** Does the work of somebody who removes the ingest, between two messages; the writer's next message fails. */
  takeAway<T>(work: () => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      const answer = await work()
      this.#forgetAdoption()
      this.#state = 'taken away'
      return answer
    })
  }

  async append(data: Uint8Array): Promise<void> {
    const bytes = await this.#own('all')
    await bytes.append(data)
    this.#updatedAt = now()
  }

  /** Back to no bytes. */
  async restart(): Promise<void> {
    const bytes = await this.#own('none')
    await bytes.truncate()
    this.#updatedAt = now()
  }

  /** Makes a blob of its bytes. */
  async commit(digest: Digest): Promise<void> {
    await this.#parts.store.bytes.commit(this, this.#bytes, digest)
  }

  /** Removes what is left of the ingest after its record went. */
  async finish(): Promise<void> {
    this.#state = 'finished'
    this.#forgetAdoption()
    const { store } = this.#parts
    // The outcome is decided already; what stays behind is found by the next sweep or start.
    await store.bytes
      .discard(this)
      .catch((error: unknown) =>
        store.logger?.warn({ err: error, ref: this.ref }, 'could not remove a finished ingest'),
      )
  }

  /** Gives the ingest back, as it is. Closing twice is fine. */
  async close(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#handedBack) return
      this.#handedBack = true
      try {
        if (!isAdopted(this.#bytes)) await this.#bytes.close(this.#state === 'open' ? this.#updatedAt : undefined)
      } catch (error) {
        this.#parts.store.logger?.warn({ err: error, ref: this.ref }, 'could not close an ingest')
      } finally {
        if (this.#state === 'open') this.#state = 'closed'
        this.#parts.place.release()
      }
    })
  }

  #inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    const turn = this.#lastTurn.then(work)
    this.#lastTurn = turn.catch(() => {})
    return turn
  }

  /** Bytes of its own to write to; those that it was to adopt are copied, or left when none of them is wanted. */
  async #own(wanted: 'all' | 'none'): Promise<IngestBytes> {
    if (!isAdopted(this.#bytes)) return this.#bytes
    const { store, record, algorithm, total } = this.#parts
    const { namespace, ref, startedAt } = this
    await store.bytes.create({ namespace, ref, startedAt, total }, wanted === 'all' ? this.#bytes.digest : undefined)
    const outcome = await store.metadata.transact(this.namespace, {
      checks: [{ is: 'present', table: tables.ingests, field: this.ref }],
      writes: [{ op: 'set', table: tables.ingests, field: this.ref, value: encode(Ingest, { ...record, adopts: '' }) }],
    })
    if (!outcome.ok) throw notFound(`reference ${this.ref}`)
    const bytes = await store.bytes.open({ namespace, ref, total }, algorithm, store.closing)
    this.#forgetAdoption()
    this.#bytes = bytes
    return bytes
  }

  #forgetAdoption(): void {
    if (!isAdopted(this.#bytes)) return
    this.#parts.store.adoptions.remove(this.#bytes.digest.text, this.namespace, this.ref)
  }
}
