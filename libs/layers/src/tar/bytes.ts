/**
 * Names in a tar are bytes in no stated encoding. Here they are strings with one character for each byte (latin1), so
 * that string operations work and no byte is lost. `\u00e9` is thus the byte e9, not the letter.
 */
export type ByteString = string

/** The bytes of the name as text: what a Buffer's `toString('latin1')` gives. */
export function bytesToString(bytes: Uint8Array, start = 0, end = bytes.length): ByteString {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1', start, end)
}

export function stringToBytes(text: ByteString): Buffer {
  return Buffer.from(text, 'latin1')
}

/** Ordinary text (a path of this process) as a byte string. */
export function fromText(text: string): ByteString {
  return isAscii(text) ? text : Buffer.from(text, 'utf8').toString('latin1')
}

/** A byte string as people read it, for messages. */
export function toText(text: ByteString): string {
  return isAscii(text) ? text : Buffer.from(text, 'latin1').toString('utf8')
}

/** A byte string in the form that system calls take: text where both are the same, else the bytes. */
export function toPath(text: ByteString): string | Buffer {
  return isAscii(text) ? text : Buffer.from(text, 'latin1')
}

export function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false
  return true
}
