import { type Connection, streamWindow } from './connection.ts'
import { errorCode } from './frames.ts'

/** Told of what becomes of a stream. */
export interface StreamTaker {
  /** Bytes from the client; the last of them when `ended`. */
  data(bytes: Buffer, ended: boolean): void
  /** The client gave up, or the connection broke, before the answer was complete. */
  cut(): void
  /** All data so far is with the socket. */
  drained(): void
}

/** The server's side of one request and its answer. */
export class Stream {
  readonly id: number
  /** Bytes that the client takes of this stream. */
  sendWindow: number
  taker: StreamTaker | undefined
  readonly #connection: Connection
  #unsent: Buffer[] = []
  #unsentBytes = 0
  #trailers: Buffer | undefined
  /** Whether the client has said all. */
  #heard: boolean
  /** Whether all was answered, or nobody listens any more. */
  #done = false
  #receiveWindow = streamWindow
  #owed = 0

  constructor(connection: Connection, id: number, sendWindow: number, heard: boolean) {
    this.#connection = connection
    this.id = id
    this.sendWindow = sendWindow
    this.#heard = heard
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

  /** Sends bytes after what was sent before. */
  write(bytes: Buffer): void {
    if (this.#done) return
    this.#unsent.push(bytes)
    this.#unsentBytes += bytes.length
    this.#connection.sendData(this)
  }

  /** Ends the answer, once the data before is out, with these headers. */
  end(trailers: Buffer): void {
    if (this.#done || this.#trailers) return
    this.#trailers = trailers
    if (this.#unsentBytes === 0) this.#finish()
  }

  takeUnsent(most: number): Buffer {
    const first = this.#unsent[0] ?? Buffer.alloc(0)
    if (first.length <= most) this.#unsent.shift()
    else this.#unsent[0] = first.subarray(most)
    const piece = first.length <= most ? first : first.subarray(0, most)
    this.#unsentBytes -= piece.length
    return piece
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
    this.#receiveWindow -= size
    if (this.#heard || this.#receiveWindow < 0) {
      this.#connection.reset(this.id, this.#heard ? errorCode.streamClosed : errorCode.flowControl)
      this.cut()
      return
    }
    this.#owed += size
    if (ended) this.#heard = true
    this.taker?.data(bytes, ended)
  }

  /** Says that what was received is dealt with, so that the client may send as much again. */
  consumed(): void {
    if (this.#done || this.#heard || this.#owed < streamWindow / 4) return
    this.#receiveWindow += this.#owed
    this.#connection.openWindow(this, this.#owed)
    this.#owed = 0
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

  #leave(): void {
    this.#done = true
    this.#unsent = []
    this.#unsentBytes = 0
    this.#connection.drop(this)
  }
}
