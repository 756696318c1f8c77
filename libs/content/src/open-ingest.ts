import { Ingest } from '@flotilla/api/flotilla/metadata/v1/records'
import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import { encode, now, tables } from '@flotilla/metadata'
import { aborted, notFound, unavailable } from '@flotilla/rpc'
import { copyBlob } from './copy-blob.ts'
import type { Algorithm, Digest } from './digest.ts'
import { hashBlob } from './hash-file.ts'
import { IngestBytes } from './ingest-bytes.ts'
import { createIngest, dataFile, noteUpdate, removeIngest } from './ingest-directory.ts'
import type { Store } from './store.ts'
import type { WriterPlace } from './writers.ts'

/** Content that an ingest is going to have without anybody sending it. */
export interface Adopted {
  readonly digest: Digest
  readonly size: number
}

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
    return !(this.#bytes instanceof IngestBytes)
  }

  get offset(): number {
    return this.#bytes instanceof IngestBytes ? this.#bytes.length : this.#bytes.size
  }

  /** The file with its bytes. */
  get file(): string {
    return this.#bytes instanceof IngestBytes
      ? dataFile(this.#directory)
      : this.#parts.store.layout.blob(this.#bytes.digest)
  }

  digest(): Digest {
    return this.#bytes instanceof IngestBytes ? this.#bytes.digest() : this.#bytes.digest
  }

  async digestAs(algorithm: Algorithm, signal: AbortSignal): Promise<Digest> {
    if (this.#bytes instanceof IngestBytes) return await this.#bytes.digestAs(algorithm, signal)
    if (this.#bytes.digest.algorithm === algorithm) return this.#bytes.digest
    return await hashBlob(this.file, this.#bytes.size, algorithm, signal)
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

  /** Returns when the bytes are on disk, for good if nobody writes any more. */
  async settle(): Promise<void> {
    if (this.#bytes instanceof IngestBytes) await this.#bytes.settle()
  }

  /** Removes what is left of the ingest after its record went. */
  async finish(): Promise<void> {
    this.#state = 'finished'
    this.#forgetAdoption()
    const { store } = this.#parts
    // The outcome is decided already; what stays behind is found by the next sweep or start.
    await removeIngest(store.layout, this.#directory).catch((error: unknown) =>
      store.logger?.warn({ err: error, ref: this.ref }, 'could not remove a finished ingest'),
    )
  }

  /** Gives the ingest back, as it is. Closing twice is fine. */
  async close(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#handedBack) return
      this.#handedBack = true
      try {
        if (this.#bytes instanceof IngestBytes) {
          await this.#bytes.close()
          if (this.#state === 'open') await noteUpdate(this.#directory, this.#updatedAt)
        }
      } catch (error) {
        this.#parts.store.logger?.warn({ err: error, ref: this.ref }, 'could not close an ingest')
      } finally {
        if (this.#state === 'open') this.#state = 'closed'
        this.#parts.place.release()
      }
    })
  }

  get #directory(): string {
    return this.#parts.store.layout.ingest(this.namespace, this.ref)
  }

  #inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    const turn = this.#lastTurn.then(work)
    this.#lastTurn = turn.catch(() => {})
    return turn
  }

  /** Bytes of its own to write to; those that it was to adopt are copied, or left when none of them is wanted. */
  async #own(wanted: 'all' | 'none'): Promise<IngestBytes> {
    if (this.#bytes instanceof IngestBytes) return this.#bytes
    const { store, record, algorithm, total } = this.#parts
    const adopted = this.#bytes
    const blob = store.layout.blob(adopted.digest)
    const copy = async (data: string) => {
      await copyBlob(blob, data).catch((error: unknown) => {
        throw notFound(`content ${adopted.digest.text} is no longer there to be adopted`, { cause: error })
      })
    }
    await createIngest(
      store.layout,
      { namespace: this.namespace, ref: this.ref, startedAt: this.startedAt, total },
      wanted === 'all' ? copy : undefined,
    )
    const outcome = await store.metadata.transact(this.namespace, {
      checks: [{ is: 'present', table: tables.ingests, field: this.ref }],
      writes: [{ op: 'set', table: tables.ingests, field: this.ref, value: encode(Ingest, { ...record, adopts: '' }) }],
    })
    if (!outcome.ok) throw notFound(`reference ${this.ref}`)
    const bytes = await IngestBytes.open(this.#directory, algorithm, store.closing)
    this.#forgetAdoption()
    this.#bytes = bytes
    return bytes
  }

  #forgetAdoption(): void {
    if (this.#bytes instanceof IngestBytes) return
    this.#parts.store.adoptions.remove(this.#bytes.digest.text, this.namespace, this.ref)
  }
}
