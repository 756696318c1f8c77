import type { Bundle } from './bundle.ts'
import type { Exit } from './exit.ts'
import type { ProcessKey } from './ledger.ts'
import type { ProcessRecord } from './process-record.ts'
import type { Shim } from './shim.ts'

/** What is left of a task when its shim is not there. */
export interface Remains {
  readonly bundle: Bundle
  /** Path of the shim's binary; undefined when the bundle does not say. */
  readonly binary: string | undefined
  readonly record: ProcessRecord
}

/** A task and the shim that serves it. */
export class Task implements Remains {
  readonly bundle: Bundle
  readonly binary: string
  readonly record: ProcessRecord
  readonly shim: Shim
  readonly #log: Disposable
  /** Waits for exits that are under way at the shim, by exec id: one for each process, however many callers wait. */
  readonly waits = new Map<string, Promise<Exit>>()
  /** Resolves when the task was removed. */
  readonly gone: Promise<void>
  /** Set once the shim is told to end, so that its end is no accident. */
  ending = false
  /** Answer of the shim to a delete that was not brought to its end. */
  deleted: Exit | undefined
  /** Whether an earlier run of this program made it. */
  readonly adopted: boolean
  readonly #remove: () => void

  constructor(parts: {
    bundle: Bundle
    binary: string
    record: ProcessRecord
    shim: Shim
    log: Disposable
    adopted: boolean
  }) {
    this.adopted = parts.adopted
    this.bundle = parts.bundle
    this.binary = parts.binary
    this.record = parts.record
    this.shim = parts.shim
    this.#log = parts.log
    const { promise, resolve } = Promise.withResolvers<void>()
    this.gone = promise
    this.#remove = resolve
  }

  get namespace(): string {
    return this.bundle.namespace
  }

  get id(): string {
    return this.bundle.id
  }

  /** Lets go of the shim without ending it. */
  release(): void {
    this.shim[Symbol.dispose]()
    this.#log[Symbol.dispose]()
  }

  removed(): void {
    this.release()
    this.#remove()
  }
}

export function taskKey(namespace: string, id: string): string {
  return `${namespace}/${id}`
}

export function processKey({ id, namespace }: Bundle, execId: string, pid: number): ProcessKey {
  return { namespace, id, execId, pid }
}
