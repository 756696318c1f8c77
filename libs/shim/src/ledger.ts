import type { Timestamp } from '@flotilla/api/google/protobuf/timestamp'
import type { Exit } from './exit.ts'

/** How long the end of a process is remembered once its task is gone, milliseconds: longer than shims send again. */
const retention = 10 * 60_000

/** What happens to a process once. */
export type End = 'exit' | 'delete'

/** A process of a task; `execId` is empty for the first one. */
export interface ProcessKey {
  readonly namespace: string
  readonly id: string
  readonly execId: string
  readonly pid: number
}

interface Entry {
  readonly key: ProcessKey
  readonly end: End
  readonly exit: Exit
  /** True when we worked it out ourselves, so that the shim's own report may differ in its time. */
  readonly synthesized: boolean
  /** Milliseconds since the epoch. */
  readonly recorded: number
  onDisk: boolean
}

/**
 * Which ends of processes were reported. Shims send an event again when they are not sure that it arrived, and we work
 * out what a shim cannot tell any more: this is how each end is told once.
 */
export class Ledger {
  readonly #entries = new Map<string, Entry>()
  readonly #waiting = new Map<string, Set<() => void>>()

  /** Notes an end. False when it is a repeat. A process id may come again: the same key at another time is another. */
  note(end: End, key: ProcessKey, exit: Exit, synthesized: boolean, recorded = Date.now()): boolean {
    const name = nameOf(end, key)
    const before = this.#entries.get(name)
    if (before && (synthesized || before.synthesized || sameTime(before.exit.at, exit.at))) return false
    // Insertion order is the order of time, which `expire` relies on.
    this.#entries.delete(name)
    this.#entries.set(name, { key, end, exit, synthesized, recorded, onDisk: false })
    return true
  }

  /** Says that a noted end is on disk. */
  settled(end: End, key: ProcessKey): void {
    const name = nameOf(end, key)
    const entry = this.#entries.get(name)
    if (entry) entry.onDisk = true
    for (const wake of this.#waiting.get(name) ?? []) wake()
    this.#waiting.delete(name)
  }

  /** Takes a note back: it could not be put on disk. */
  forget(end: End, key: ProcessKey): void {
    this.#entries.delete(nameOf(end, key))
  }

  /** Forgets what an earlier process with this key did before a moment. */
  forgetBefore(key: ProcessKey, moment: number): void {
    for (const end of ['exit', 'delete'] as const) {
      const before = this.#entries.get(nameOf(end, key))
      if (before && before.recorded < moment) this.forget(end, key)
    }
  }

  has(end: End, key: ProcessKey): boolean {
    return this.#entries.has(nameOf(end, key))
  }

  exitOf(key: ProcessKey): Exit | undefined {
    return this.#entries.get(nameOf('exit', key))?.exit
  }

  /** The last known exit of any process of that name, of the task there was before. */
  lastExit(namespace: string, id: string, execId: string): Exit | undefined {
    let last: Exit | undefined
    for (const { end, exit, key } of this.#entries.values()) {
      if (end === 'exit' && key.namespace === namespace && key.id === id && key.execId === execId) last = exit
    }
    return last
  }

  /** Resolves when an end is on disk or after so many milliseconds; says which. */
  async wait(end: End, key: ProcessKey, timeout: number): Promise<boolean> {
    const name = nameOf(end, key)
    if (this.#entries.get(name)?.onDisk) return true
    const waiters = this.#waiting.get(name) ?? new Set()
    this.#waiting.set(name, waiters)
    return await new Promise((resolve) => {
      const timer = setTimeout(() => {
        waiters.delete(wake)
        resolve(false)
      }, timeout)
      const wake = () => {
        clearTimeout(timer)
        resolve(true)
      }
      waiters.add(wake)
    })
  }

  /** Forgets what is old and belongs to no task any more. */
  expire(isLive: (namespace: string, id: string) => boolean, time = Date.now()): void {
    for (const [name, { key, recorded }] of this.#entries) {
      if (time - recorded >= retention && !isLive(key.namespace, key.id)) this.#entries.delete(name)
    }
    for (const [name, waiters] of this.#waiting) if (waiters.size === 0) this.#waiting.delete(name)
  }
}

function nameOf(end: End, { execId, id, namespace, pid }: ProcessKey): string {
  return JSON.stringify([end, namespace, id, execId, pid])
}

function sameTime(a: Timestamp, b: Timestamp): boolean {
  return a.seconds === b.seconds && a.nanos === b.nanos
}
