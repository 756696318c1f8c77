import type { Socket } from 'node:net'

/** Kinds of HTTP/2 frames, RFC 9113. */
export const frame = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7, windowUpdate: 8 } as const
export const flag = { endStream: 1, ack: 1, endHeaders: 4 } as const
/** What a client says first. */
export const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
export const largestWindow = 0x7fff_ffff
/** Bytes of a connection's window that nobody has enlarged yet. */
export const firstWindow = 65_535
const headLength = 9

export function frameOf(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(headLength)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  writeStream(head, 0, stream)
  return Buffer.concat([head, payload])
}

/** Says of which stream the frame is that begins at a place. */
export function writeStream(bytes: Buffer, at: number, stream: number): void {
  bytes.writeUInt32BE(stream, at + 5)
}

/** Enlarges the window of the connection. */
export function windowUpdate(bytes: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(bytes)
  return frameOf(frame.windowUpdate, 0, 0, payload)
}

/** Takes what a socket brings apart, after so many bytes that are no frame. */
export function readFrames(
  socket: Socket,
  take: (type: number, flags: number, stream: number, payload: Buffer) => void,
  skipped = 0,
): void {
  let rest: Buffer = Buffer.alloc(0)
  let skip = skipped
  socket.on('data', (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = Math.min(skip, bytes.length)
    skip -= at
    while (bytes.length - at >= headLength) {
      const end = at + headLength + bytes.readUIntBE(at, 3)
      if (bytes.length < end) break
      take(bytes[at + 3] ?? 0, bytes[at + 4] ?? 0, bytes.readUInt32BE(at + 5), bytes.subarray(at + headLength, end))
      at = end
    }
    rest = bytes.subarray(at)
  })
}
