import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import type { Algorithm, Digest } from './digest.ts'

/** What names an ingest. */
export interface Owner {
  readonly namespace: string
  readonly ref: string
}

export interface NewIngest extends Owner {
  readonly startedAt: Timestamp
  /** 0 when nobody said how large it will be. */
  readonly total: number
}

/** An ingest as it lies there. */
export interface StoredIngest {
  /** Bytes received so far. */
  readonly offset: number
  readonly startedAt: Timestamp
  readonly updatedAt: Timestamp
  /** 0 when nobody said how large it will be. */
  readonly total: number
}

/** Where the bytes of a piece go. */
export interface Room {
  /** All are filled, in this order. */
  readonly places: readonly Uint8Array[]
  /** Bytes in all of them. */
  readonly length: number
}

/**
 * Where the bytes of blobs and ingests are: files of this node (`disk-bytes.ts`), or another program's
 * (`proxied-bytes.ts`). It knows nothing of records, and leaves it to its callers that an ingest has one writer and that
 * no blob is removed while somebody adopts or commits it.
 */
export interface Bytes {
  /** Bytes of a blob, whoever may see it; undefined when it is not there. */
  size(digest: Digest): Promise<number | undefined>
  /** Bytes `start` to `end` of a blob, which has that many. NOT_FOUND, before the first piece, when it is not there. */
  read(digest: Digest, start: number, end: number, signal: AbortSignal): AsyncGenerator<Buffer>
  /**
   * The same into memory of the caller's, who is asked for a room for each piece: the piece at `from`, of at most so many
   * bytes. Absent where bytes come in pieces of their own.
   */
  readInto?<R extends Room>(
    digest: Digest,
    start: number,
    end: number,
    roomFor: (from: number, most: number) => R,
  ): AsyncGenerator<R>
  /** The blob's file, for readers on this node; undefined where there are no files. */
  file(digest: Digest): string | undefined
  /** The digest of a blob's bytes by another algorithm than that of its name. */
  hash(digest: Digest, size: number, algorithm: Algorithm, signal: AbortSignal): Promise<Digest>
  remove(digest: Digest): Promise<void>
  /** Every blob, in batches. */
  blobs(): AsyncGenerator<Digest[]>

  /** Every ingest. */
  ingests(): Promise<Owner[]>
  /**
   * Clears away what an abrupt end left half made; answers every ingest that is whole, or undefined where that is not
   * known now.
   */
  recover(): Promise<Owner[] | undefined>
  ingest(owner: Owner): Promise<StoredIngest | undefined>
  /** The ingest's file, for readers on this node; undefined where there are no files. */
  ingestFile(owner: Owner): string | undefined
  /** Makes an ingest, empty or with the bytes of a blob, in place of one that may be there. */
  create(ingest: NewIngest, from?: Digest): Promise<void>
  /** Opens what is there for writing; the signal ends the wait for it. */
  open(ingest: Owner & { readonly total: number }, algorithm: Algorithm, signal: AbortSignal): Promise<IngestBytes>
  /** Bytes that removing an ingest would free. */
  freedBy(owner: Owner): Promise<number>
  /** Removes an ingest. Absent is fine. */
  discard(owner: Owner): Promise<void>
  /**
   * Makes a blob of an ingest's bytes, or of the blob that it adopts, durably. The ingest is still there after it, where
   * that can be done, so that a record that could not be written is tried again.
   *
   * @throws FAILED_PRECONDITION when they are not what the digest says, where nobody could know before; NOT_FOUND when
   * the adopted blob has gone
   */
  commit(owner: Owner, from: IngestBytes | Adopted, digest: Digest): Promise<void>
}

/** Content that an ingest is going to have without anybody sending it. */
export interface Adopted {
  readonly digest: Digest
  readonly size: number
}

export const isAdopted = (from: IngestBytes | Adopted): from is Adopted => 'size' in from

/** The bytes of an open ingest. */
export interface IngestBytes {
  readonly length: number
  /** Digest of the bytes so far; undefined where only the commit tells. */
  digest(): Digest | undefined
  /** The same with another algorithm. */
  digestAs(algorithm: Algorithm, signal: AbortSignal): Promise<Digest | undefined>
  append(data: Uint8Array): Promise<void>
  /** Back to no bytes at all. */
  truncate(): Promise<void>
  /** Ends the writing; with a time when the ingest stays, to be resumed. */
  close(leftAt?: Timestamp): Promise<void>
}
