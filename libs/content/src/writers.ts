import { refLocked } from '@flotilla/content-client'
import { unavailable } from '@flotilla/rpc'
import type { OpenIngest } from './open-ingest.ts'

/** Who has an ingest: a stream that writes it, or something that takes it away. */
interface Holder {
  readonly writes: boolean
  /** Milliseconds since the epoch. */
  readonly since: number
  /** The open ingest, once the writer has opened it. */
  session?: OpenIngest
  readonly opened: PromiseWithResolvers<void>
  readonly ended: PromiseWithResolvers<void>
}

const keyOf = (namespace: string, ref: string): string => `${namespace}/${ref}`

/** The place of one writer, held from its first message to its end. */
export interface WriterPlace {
  /** Tells others what is open. */
  opened(session: OpenIngest): void
  release(): void
}

/** An ingest taken from whoever wrote it. */
export interface Removal {
  /** The writer that had it open. */
  readonly session: OpenIngest | undefined
  /** Gives the ingest free for a new writer. With `restore` the old writer has it again, if it is still there. */
  release(options?: { restore: boolean }): void
}

/** One writer for each ingest of this store. */
export class Writers {
  readonly #holders = new Map<string, Holder>()

  /** @throws UNAVAILABLE while another stream writes this ingest; clients try again. */
  async take(namespace: string, ref: string): Promise<WriterPlace> {
    const key = keyOf(namespace, ref)
    let held = this.#holders.get(key)
    // A removal is short and none of the client's business.
    for (; held !== undefined && !held.writes; held = this.#holders.get(key)) await held.ended.promise
    if (held !== undefined) {
      const seconds = (Date.now() - held.since) / 1_000
      throw unavailable(`ref ${ref} locked for ${seconds}s (since ${new Date(held.since).toISOString()})`, {
        reason: refLocked,
      })
    }
    const holder = this.#hold(key, true)
    return {
      opened: (session) => {
        holder.session = session
        holder.opened.resolve()
      },
      release: () => this.#end(key, holder),
    }
  }

  /** The ingest that a writer has open at this moment. */
  session(namespace: string, ref: string): OpenIngest | undefined {
    return this.#holders.get(keyOf(namespace, ref))?.session
  }

  isHeld(namespace: string, ref: string): boolean {
    return this.#holders.has(keyOf(namespace, ref))
  }

  /** Every ingest of a namespace that is open. */
  *sessions(namespace: string): Iterable<OpenIngest> {
    for (const { session } of this.#holders.values()) if (session?.namespace === namespace) yield session
  }

  /** Every ingest that is open, of all namespaces. */
  *allSessions(): Iterable<OpenIngest> {
    for (const { session } of this.#holders.values()) if (session !== undefined) yield session
  }

  /** Takes the ingest away, also from a writer. One that is just being opened is waited for. */
  async remove(namespace: string, ref: string): Promise<Removal> {
    const key = keyOf(namespace, ref)
    for (;;) {
      const held = this.#holders.get(key)
      if (held === undefined) return this.#removal(key, undefined)
      if (!held.writes) await held.ended.promise
      else if (held.session === undefined) await held.opened.promise
      else return this.#removal(key, held)
    }
  }

  /** The same, but only when nobody has the ingest. */
  removeIfFree(namespace: string, ref: string): Removal | undefined {
    const key = keyOf(namespace, ref)
    return this.#holders.has(key) ? undefined : this.#removal(key, undefined)
  }

  /** Closes what is open and waits until nobody holds anything. The caller sees to it that nothing is opened now. */
  async close(): Promise<void> {
    while (this.#holders.size > 0)
      await Promise.all(
        [...this.#holders.values()].map(async (holder) => {
          await holder.opened.promise
          await holder.session?.close()
          await holder.ended.promise
        }),
      )
  }

  #removal(key: string, from: Holder | undefined): Removal {
    const holder = this.#hold(key, false)
    return {
      session: from?.session,
      release: (options) => {
        this.#end(key, holder)
        if (options?.restore && from?.session !== undefined && !from.session.closed) this.#holders.set(key, from)
      },
    }
  }

  #hold(key: string, writes: boolean): Holder {
    const holder: Holder = {
      writes,
      since: Date.now(),
      opened: Promise.withResolvers<void>(),
      ended: Promise.withResolvers<void>(),
    }
    this.#holders.set(key, holder)
    return holder
  }

  #end(key: string, holder: Holder): void {
    if (this.#holders.get(key) === holder) this.#holders.delete(key)
    holder.opened.resolve()
    holder.ended.resolve()
  }
}
