import { closeSync, constants, openSync } from 'node:fs'

/**
 * Ends of clients' FIFOs that are held open while the node of the process is away, so that the client neither reads an
 * end of file nor finds nobody reading what it writes.
 */
export class Lingering {
  readonly #held = new Map<string, { readonly fd: number; readonly timer: NodeJS.Timeout }>()
  readonly #milliseconds: number

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds
  }

  /** Holds an end, O_RDONLY or O_WRONLY, for a while; to be called while the other end is open too. */
  hold(path: string, end: number): void {
    let fd: number
    try {
      fd = openSync(path, end | constants.O_NONBLOCK)
    } catch {
      // The client has removed its FIFO: it left.
      return
    }
    // Only now, so that there is no moment with neither.
    this.release(path)
    const timer = setTimeout(() => this.release(path), this.#milliseconds)
    timer.unref()
    this.#held.set(path, { fd, timer })
  }

  /** Lets go of an end: somebody else has it open now, or nobody is going to. */
  release(path: string): void {
    const held = this.#held.get(path)
    if (held === undefined) return
    this.#held.delete(path)
    clearTimeout(held.timer)
    closeSync(held.fd)
  }
}
