import type { PartialBlob } from './partial-blob.ts'

/** A blob on its way to this node. */
export interface Arrival {
  readonly done: Promise<void>
  /** Once its file is open. */
  partial?: PartialBlob
}

/** The blobs that are on their way here from elsewhere: one transfer for each, however many wait for it. */
export class Arrivals {
  readonly #byDigest = new Map<string, Arrival>()

  get(digest: string): Arrival | undefined {
    return this.#byDigest.get(digest)
  }

  /** Joins a transfer, or begins it. */
  join(digest: string, begin: (arrival: { partial?: PartialBlob }) => Promise<void>): Promise<void> {
    const known = this.#byDigest.get(digest)
    if (known !== undefined) return known.done
    const { promise, reject, resolve } = Promise.withResolvers<void>()
    const arrival: Arrival = { done: promise }
    this.#byDigest.set(digest, arrival)
    // Whoever waits hears of a failure; nobody may.
    promise.catch(() => {})
    void begin(arrival)
      .then(resolve, reject)
      .finally(() => this.#byDigest.delete(digest))
    return promise
  }
}
