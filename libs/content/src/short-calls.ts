/** Bytes that are read or written on this thread. Go's clients ask for and send 32 KiB at a time. */
const fewBytes = 64 * 1024
/** Milliseconds from which on a call had to wait for the disk. */
const longCall = 5
/** Bytes for which the pool is asked then. */
const patientBytes = 64 * 1024 * 1024

/**
 * Few bytes get into the page cache or out of it in some 10 µs, where handing them to a thread of the pool takes 60 with
 * all that it brings with it. So they are read and written on this thread, until one of these calls had to wait for the
 * disk: then the next ones are for the pool.
 */
export class ShortCalls {
  #forPool = 0

  /** Makes a call for so many bytes on this thread; undefined when it is for the pool. */
  make(bytes: number, call: () => number): number | undefined {
    if (bytes > fewBytes) return undefined
    if (this.#forPool > 0) {
      this.#forPool -= bytes
      return undefined
    }
    const start = performance.now()
    const result = call()
    if (performance.now() - start > longCall) this.#forPool = patientBytes
    return result
  }
}
