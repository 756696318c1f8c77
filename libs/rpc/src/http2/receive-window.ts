// How much a client may send before it was read. RFC 9113, section 5.2, leaves to the receiver how windows are opened.

/** What each stream may hold in any case, bytes: the protocol's default, which we do not change. */
export const baseWindow = 65_535
/** What a stream may hold whose bytes are read as they come. */
const bulkWindow = 4 * 1024 * 1024
/** What all streams of a connection may hold beyond their base. */
const poolBytes = 256 * 1024 * 1024

/**
 * The bytes that the streams of one connection may hold beyond their base, so that memory is bounded however many they
 * are. Half of it is only for messages in the making: they can then always be completed, one after the other.
 */
export class WindowPool {
  #lent = 0
  /** Those that wait for bytes, the first to come first. */
  readonly #waiting = new Set<ReceiveWindow>()

  get lent(): number {
    return this.#lent
  }

  /** Lends bytes, or none. */
  borrow(bytes: number, forMessage: boolean): boolean {
    if (this.#lent + bytes > (forMessage ? poolBytes : poolBytes / 2)) return false
    this.#lent += bytes
    return true
  }

  wait(window: ReceiveWindow): void {
    this.#waiting.add(window)
  }

  forget(window: ReceiveWindow): void {
    this.#waiting.delete(window)
  }

  giveBack(bytes: number): void {
    this.#lent -= bytes
    // In turn: one that needs much is not passed by those behind it that need less.
    for (const window of this.#waiting) {
      if (!window.widen()) return
      this.#waiting.delete(window)
    }
  }
}

/** Tells the client that it may send so many bytes more. */
export interface WindowOpener {
  openWindow(bytes: number): void
}

/** The window of one stream. It holds what came and was not read, and what may come. */
export class ReceiveWindow {
  readonly #pool: WindowPool
  readonly #opener: WindowOpener
  /** Bytes that may come. */
  #room = baseWindow
  /** Bytes that came and were not read. */
  #held = 0
  #lent = 0
  /** What it should hold; more from time to time where bytes are read. */
  #target = baseWindow
  /** Bytes that the message in the making lacks. */
  #lacking = 0
  #closed = false

  constructor(pool: WindowPool, opener: WindowOpener) {
    this.#pool = pool
    this.#opener = opener
  }

  /** Takes note of bytes that came; false when the client was not allowed to send them. */
  receive(bytes: number): boolean {
    this.#room -= bytes
    this.#held += bytes
    this.#lacking = Math.max(0, this.#lacking - bytes)
    return this.#room >= 0
  }

  /** Lets the rest of a message come, now (true) or when other streams hold less. */
  expect(bytes: number): boolean {
    this.#lacking = bytes
    return this.widen()
  }

  /** Takes note of bytes that were read. */
  consumed(bytes: number): void {
    if (this.#closed) return
    this.#held -= bytes
    this.#settle()
    this.widen()
  }

  /** No more is to come; what it holds counts until it is released. */
  close(): void {
    this.#closed = true
    this.#room = 0
    if (this.#lacking > 0) this.#pool.forget(this)
    this.#settle()
  }

  release(): void {
    this.#held = 0
    this.close()
  }

  /** Opens the window as far as it should be and may be; false when it has to wait for bytes that it needs. */
  widen(): boolean {
    if (this.#closed) return true
    if (this.#lacking > this.#room) {
      if (this.#add(this.#lacking - this.#room, true)) return true
      this.#pool.wait(this)
      return false
    }
    if (this.#room >= this.#target / 2) return true
    const wider = Math.min(4 * this.#target, bulkWindow)
    if (this.#held < wider && this.#add(wider - this.#room - this.#held, false)) this.#target = wider
    else if (this.#room + this.#held < baseWindow) {
      this.#target = baseWindow
      this.#add(baseWindow - this.#room - this.#held, false)
    }
    return true
  }

  #add(bytes: number, forMessage: boolean): boolean {
    if (bytes <= 0) return true
    const lent = Math.max(0, this.#room + this.#held + bytes - baseWindow)
    if (lent > this.#lent && !this.#pool.borrow(lent - this.#lent, forMessage)) return false
    this.#lent = Math.max(lent, this.#lent)
    this.#room += bytes
    this.#opener.openWindow(bytes)
    return true
  }

  #settle(): void {
    const lent = Math.max(0, this.#room + this.#held - baseWindow)
    const back = this.#lent - lent
    this.#lent = lent
    if (back > 0) this.#pool.giveBack(back)
  }
}
