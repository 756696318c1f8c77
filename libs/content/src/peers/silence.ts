/** Looks within the time that one may be silent. */
const looks = 8

/**
 * Aborts a signal when nothing is heard for some time while somebody listens.
 *
 * It counts looks and not the clock: a process that got no processor for seconds finds its timers due before what came
 * meanwhile, and must not take its own absence for the other's.
 */
export class Silence implements Disposable {
  readonly #aborter = new AbortController()
  readonly #timer: NodeJS.Timeout
  #listening = false
  #silent = 0

  /** @param longest milliseconds */
  constructor(longest: number) {
    this.#timer = setInterval(() => {
      if (this.#listening && ++this.#silent > looks) this.#aborter.abort()
    }, longest / looks)
  }

  get signal(): AbortSignal {
    return this.#aborter.signal
  }

  /** From now on something should be heard. */
  listen(): void {
    this.#silent = 0
    this.#listening = true
  }

  /** Something was; what is done with it may take its time. */
  heard(): void {
    this.#listening = false
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}
