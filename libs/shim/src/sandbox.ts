import type { Bundle } from './bundle.ts'
import type { Shim } from './shim.ts'

/** How a sandbox ended. */
export interface SandboxExit {
  readonly status: number
  readonly at: { readonly seconds: number; readonly nanos: number }
}

/** A sandbox and the shim that hosts it, in which the tasks of its containers run too. */
export class Sandbox {
  readonly bundle: Bundle
  readonly binary: string
  readonly shim: Shim
  readonly #log: Disposable
  readonly #ended = Promise.withResolvers<SandboxExit>()
  /** Resolves when its shim is gone or said that it ended. */
  readonly ended = this.#ended.promise
  /** Set once its end is no accident: it was told to stop. */
  stopping = false

  constructor(parts: { bundle: Bundle; binary: string; shim: Shim; log: Disposable }) {
    this.bundle = parts.bundle
    this.binary = parts.binary
    this.shim = parts.shim
    this.#log = parts.log
  }

  /** Says how it ended; what was said first counts. */
  end(exit: SandboxExit): void {
    this.#ended.resolve(exit)
  }

  /** Lets go of the shim without ending it. */
  release(): void {
    this.shim[Symbol.dispose]()
    this.#log[Symbol.dispose]()
  }
}
