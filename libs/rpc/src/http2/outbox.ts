import type { Socket } from 'node:net'

/** Bytes that go out before the turn of the event loop ends. */
const flushBytes = 256 * 1024
/**
 * Milliseconds that what is in no hurry waits for something else to go with it. Go's clients ping with nearly every call,
 * to learn how much data is under way.
 */
const patience = 2
/** Pieces below this are cheaper copied together than written one by one. */
const smallBytes = 4096
/** Bytes that the socket holds for a client that does not read, above which nothing more is read from that client. */
const mostWaiting = 1024 * 1024

/**
 * What goes out of one connection. Bytes of one turn of the event loop leave in one write. Data waits while the socket is
 * full; answers to what a client sends (acknowledgements, ends of calls) cannot, so a client that does not read them is
 * not read from either: neither pings nor requests then make memory grow.
 */
export class Outbox {
  readonly #socket: Socket
  #pieces: Buffer[] = []
  #bytes = 0
  /** Told when the kernel has these pieces. */
  #outs: (() => void)[] = []
  #scheduled = false
  #later: NodeJS.Timeout | undefined
  #full = false
  #choked = false
  #closed = false

  /**
   * @param room told when the socket takes data again
   * @param unchoked told when the client may be read from again
   */
  constructor(socket: Socket, room: () => void, unchoked: () => void) {
    this.#socket = socket
    socket.on('drain', () => {
      this.#full = false
      if (this.#choked) {
        this.#choked = false
        unchoked()
      }
      room()
    })
  }

  /** Whether the socket takes no more data for now. */
  get full(): boolean {
    return this.#full
  }

  /** Whether so much waits that the client is not read from. */
  get choked(): boolean {
    return this.#choked
  }

  /**
   * Sends bytes at the end of this turn.
   * @param out told when nobody needs their memory any more; not when the socket is closed before
   */
  send(bytes: Buffer, out?: () => void): void {
    if (this.#closed) return
    if (out !== undefined) this.#outs.push(out)
    this.#pieces.push(bytes)
    this.#bytes += bytes.length
    if (this.#bytes > flushBytes) this.flush()
    else if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(() => {
        this.#scheduled = false
        this.flush()
      })
    }
  }

  /** Sends bytes with the next that are sent, or in a moment. */
  sendSoon(bytes: Buffer): void {
    if (this.#closed) return
    this.#pieces.push(bytes)
    this.#bytes += bytes.length
    if (this.#bytes > flushBytes) this.flush()
    else if (!this.#scheduled) this.#later ??= setTimeout(() => this.flush(), patience)
  }

  /** Sends now what waits for the end of the turn. */
  flush(): void {
    clearTimeout(this.#later)
    this.#later = undefined
    if (this.#pieces.length === 0 || this.#closed) return
    const [socket, pieces] = [this.#socket, this.#pieces]
    const out = this.#out()
    this.#pieces = []
    if (pieces.length === 1 || this.#bytes <= 4 * smallBytes) {
      this.#full = !socket.write(pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces, this.#bytes), out)
    } else {
      socket.cork()
      const together = gathered(pieces)
      for (const [index, piece] of together.entries())
        this.#full = !socket.write(piece, index === together.length - 1 ? out : undefined)
      socket.uncork()
    }
    this.#bytes = 0
    if (socket.writableLength <= mostWaiting) return
    this.#choked = true
    socket.pause()
  }

  #out(): ((error?: Error | null) => void) | undefined {
    const outs = this.#outs
    if (outs.length === 0) return undefined
    this.#outs = []
    return (error) => {
      if (!error) for (const out of outs) out()
    }
  }

  /** Drops what waits; nothing goes out any more. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#later)
    this.#pieces = []
    this.#outs = []
  }
}

/** Pieces in which neighbours that are small are one. */
function gathered(pieces: readonly Buffer[]): Buffer[] {
  const together: Buffer[] = []
  let small: Buffer[] = []
  for (const piece of pieces) {
    if (piece.length < smallBytes) {
      small.push(piece)
      continue
    }
    if (small.length > 0) together.push(Buffer.concat(small))
    small = []
    together.push(piece)
  }
  if (small.length > 0) together.push(Buffer.concat(small))
  return together
}
