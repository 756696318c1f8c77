import { setTimeout as sleep } from 'node:timers/promises'
import { RpcError, status } from '@flotilla/rpc'
import { type Clients, callIn } from '../harness/clients.ts'
import type { Kind } from './kinds.ts'

/** What a caller was told about a record. */
interface Told {
  /** Values that it may have: one, or two when the answer to a change did not come. */
  readonly values: readonly number[]
}

/** Records that one caller keeps, so that some are old when something is killed. */
const kept = 20

/** Makes, changes and removes records of one kind, one after the other, and remembers what was acknowledged. */
export class Caller {
  /** Acknowledged changes so far, and how many were refused or cut off. */
  acknowledged = 0
  cut = 0
  /** Ids of all whose making was acknowledged. */
  readonly made: string[] = []
  readonly kind: Kind
  readonly #clients: Clients
  readonly #namespace: string
  readonly #name: string
  readonly #present = new Map<string, Told>()
  /** Acknowledged as removed since the last check. */
  readonly #removed = new Set<string>()
  #count = 0

  constructor(kind: Kind, clients: Clients, namespace: string, name: string) {
    this.kind = kind
    this.#clients = clients
    this.#namespace = namespace
    this.#name = name
  }

  /** Works until it is told to stop, whatever happens to the other side. */
  async work(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const id = `${this.#name}-${this.#count++}`
      if (!(await this.#try(() => this.kind.make(this.#clients, id, this.#call())))) continue
      this.made.push(id)
      this.#present.set(id, { values: [0] })
      const changed = await this.#try(() => this.kind.change(this.#clients, id, this.#call()))
      this.#present.set(id, { values: changed ? [1] : [0, 1] })
      if (this.#present.size > kept) await this.#removeOldest()
    }
  }

  async #removeOldest(): Promise<void> {
    const [oldest] = this.#present.keys()
    if (oldest === undefined) return
    this.#present.delete(oldest)
    // Without an answer nobody can say whether it is there.
    if (await this.#try(() => this.kind.remove(this.#clients, oldest, this.#call()))) this.#removed.add(oldest)
  }

  /** Compares what was acknowledged with what there is; answers what is wrong. */
  async check(): Promise<string[]> {
    const found = await this.kind.list(this.#clients, this.#call())
    const wrong: string[] = []
    for (const [id, { values }] of this.#present) {
      const value = found.get(id)
      if (value === undefined) wrong.push(`${id} is missing`)
      else if (!values.includes(value)) wrong.push(`${id} is ${value} and should be ${values.join(' or ')}`)
      else this.#present.set(id, { values: [value] })
    }
    for (const id of this.#removed) if (found.has(id)) wrong.push(`${id} is back`)
    this.#removed.clear()
    return wrong
  }

  /** Whether a change was acknowledged. The only other thing that may happen is UNAVAILABLE. */
  async #try(change: () => Promise<unknown>): Promise<boolean> {
    try {
      await change()
      this.acknowledged++
      return true
    } catch (error) {
      if (!(error instanceof RpcError) || error.code !== status.UNAVAILABLE) throw error
      this.cut++
      await sleep(20)
      return false
    }
  }

  #call() {
    return callIn(this.#namespace)
  }
}
