import type { Digest } from './digest.ts'

/**
 * Blobs that may be there without a record, or get theirs in a moment: after a commit of which nobody knows whether its
 * record was written, or when one came before its record. Each is looked at again after a while, until it can be told.
 */
export class SecondLooks implements Disposable {
  readonly #waiting = new Map<string, NodeJS.Timeout>()
  readonly #look: (digest: Digest) => Promise<unknown>
  readonly #after: number
  #over = false

  /**
   * @param look removes the blob if nobody names it; rejects when that cannot be told now
   * @param after milliseconds: more than a change that is under way may take
   */
  constructor(look: (digest: Digest) => Promise<unknown>, after = 10_000) {
    this.#look = look
    this.#after = after
  }

  /** Looks at a blob after the time, counted from the last call for it. */
  at(digest: Digest): void {
    if (this.#over) return
    clearTimeout(this.#waiting.get(digest.text))
    const timer = setTimeout(() => {
      this.#waiting.delete(digest.text)
      // The store is away, or a disk has trouble: both are told where calls fail for it.
      this.#look(digest).catch(() => this.at(digest))
    }, this.#after)
    this.#waiting.set(digest.text, timer.unref())
  }

  [Symbol.dispose](): void {
    this.#over = true
    for (const timer of this.#waiting.values()) clearTimeout(timer)
    this.#waiting.clear()
  }
}
