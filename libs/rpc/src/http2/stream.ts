import type { Connection } from './connection.ts'
import type { FramedBytes } from './framed-bytes.ts'
import { errorCode } from './frames.ts'
import { ReceiveWindow, type WindowOpener, type WindowPool } from './receive-window.ts'

/** Bytes below which a piece is copied rather than kept where it is. */
const smallBytes = 4096

/** Told of what becomes of a stream. */
export interface StreamTaker {
  /** Bytes from the client, which are not the taker's to keep; the last of them when `ended`. */
  data(bytes: Buffer, ended: boolean): void
  /** The client gave up, or the connection broke, before the answer was complete. */
  cut(): void
  /** All data so far is with the socket. */
  drained(): void
}

/** The server's side of one request and its answer. */
export class Stream implements WindowOpener {
  readonly id: number
  /** Bytes that the client takes of this stream. */
  sendWindow: number
  taker: StreamTaker | undefined
  readonly #connection: Connection
  #unsent: (Buffer | FramedBytes)[] = []
  #unsentBytes = 0
  #trailers: Buffer | undefined
  /** Whether the client has said all. */
  #heard: boolean
  /** Whether all was answered, or nobody listens any more. */
  #done = false
  readonly #window: ReceiveWindow

  constructor(connection: Connection, pool: WindowPool, id: number, sendWindow: number, heard: boolean) {
    this.#connection = connection
    this.id = id
    this.sendWindow = sendWindow
    this.#heard = heard
    this.#window = new ReceiveWindow(pool, this)
  }

  get connection(): Connection {
    return this.#connection
  }

  /** Bytes that windows or the socket do not take yet. */
  get unsent(): number {
    return this.#unsentBytes
  }

  get done(): boolean {
    return this.#done
  }

  headers(block: Buffer): void {
    if (!this.#done) this.#connection.sendHeaders(this, block, false)
  }

  /** Sends bytes after what was sent before, pieces in one frame as far as they fit. */
  write(...pieces: readonly (Buffer | FramedBytes)[]): void {
    if (this.#done) return
    for (const bytes of pieces) {
      const size = Buffer.isBuffer(bytes) ? bytes.length : bytes.left
      if (size === 0) continue
      this.#unsent.push(bytes)
      this.#countUnsent(size)
    }
    this.#connection.sendData(this)
    if (this.#unsentBytes > 0) this.#ownSmall(pieces.length)
  }

  /** Copies small ones of the last pieces: they may wait for long, and be parts of a large memory that they would keep. */
  #ownSmall(last: number): void {
    for (let at = Math.max(0, this.#unsent.length - last); at < this.#unsent.length; at++) {
      const piece = this.#unsent[at]
      if (Buffer.isBuffer(piece) && piece.length < smallBytes) this.#unsent[at] = Buffer.from(piece)
    }
  }

  /** Ends the answer, once the data before is out, with these headers. */
  end(trailers: Buffer): void {
    if (this.#done || this.#trailers) return
    this.#trailers = trailers
    if (this.#unsentBytes === 0) this.#finish()
  }

  /** Ends the answer at once, whatever is unsent. */
  reset(code: number): void {
    if (this.#done) return
    this.#connection.reset(this.id, code)
    this.#leave()
  }

  /** Unsent bytes that may be in one frame. */
  get unsentOfFrame(): number {
    const first = this.#unsent[0]
    return first === undefined || Buffer.isBuffer(first) ? this.#unsentBytes : first.leftOfFrame
  }

  /** Gives the connection whole frames with at most so many bytes, if that is how they are laid out; says how many. */
  sendFrames(most: number): number {
    const first = this.#unsent[0]
    if (first === undefined || Buffer.isBuffer(first)) return 0
    const before = first.left
    const frames = first.takeFrames(most, this.id)
    if (frames !== undefined) this.#send(frames, before - first.left)
    return before - first.left
  }

  /** Gives the connection unsent bytes of a frame whose head it has. */
  sendPieces(bytes: number): void {
    for (let left = bytes; left > 0; ) {
      const first = this.#unsent[0]
      if (first === undefined) throw new RangeError(`${left} bytes more than are unsent`)
      const piece = Buffer.isBuffer(first) ? first.subarray(0, left) : first.take(left)
      left -= piece.length
      this.#send(piece, piece.length)
    }
  }

  /** Goes on with data that had to wait. */
  sendMore(): void {
    if (this.#done || this.#unsentBytes === 0) return
    this.#connection.sendData(this)
    if (this.#unsentBytes > 0) return
    if (this.#trailers) this.#finish()
    else this.taker?.drained()
  }

  /** @param size what the bytes count with their padding */
  receive(bytes: Buffer, size: number, ended: boolean): void {
    if (this.#done) return
    if (this.#heard || !this.#window.receive(size)) {
      this.breach(this.#heard ? errorCode.streamClosed : errorCode.flowControl)
      return
    }
    if (ended) {
      this.#heard = true
      this.#window.close()
    } else if (size > bytes.length) this.#window.consumed(size - bytes.length)
    this.taker?.data(bytes, ended)
  }

  /** Lets so many bytes more come of one message: now (true), or when other streams hold less. */
  expect(bytes: number): boolean {
    return this.#window.expect(bytes)
  }

  openWindow(bytes: number): void {
    this.#connection.openWindow(this, bytes)
  }

  /** Says that of what was received so much is dealt with, so that the client may send more. */
  consumed(bytes: number): void {
    if (!this.#done) this.#window.consumed(bytes)
  }

  /** The client did with this stream what it must not. */
  breach(code: number): void {
    if (this.#done) return
    this.#connection.reset(this.id, code)
    this.cut()
  }

  /** Nobody is there any more. */
  cut(): void {
    if (this.#done) return
    this.#leave()
    this.taker?.cut()
  }

  #finish(): void {
    this.#connection.sendHeaders(this, this.#trailers ?? Buffer.alloc(0), true)
    // A client that goes on sending is told that nobody reads.
    if (!this.#heard) this.#connection.reset(this.id, errorCode.none)
    this.#leave()
  }

  /** Gives the connection the beginning of what is unsent. */
  #send(piece: Buffer, bytes: number): void {
    const first = this.#unsent[0]
    this.#countUnsent(-bytes)
    if (Buffer.isBuffer(first)) {
      if (piece.length < first.length) this.#unsent[0] = first.subarray(piece.length)
      else this.#unsent.shift()
      this.#connection.send(piece)
    } else if (first?.left === 0) {
      this.#unsent.shift()
      this.#connection.send(piece, first.out)
    } else this.#connection.send(piece)
  }

  #countUnsent(bytes: number): void {
    this.#unsentBytes += bytes
    this.#connection.unsent += bytes
  }

  #leave(): void {
    this.#done = true
    this.#unsent = []
    this.#countUnsent(-this.#unsentBytes)
    this.#window.release()
    this.#connection.drop(this)
  }
}
