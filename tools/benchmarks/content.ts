import { createCipheriv, createHash } from 'node:crypto'

/** Bytes that compress about as programs and texts do, 64 MiB of them, the same at every call. */
export function makeContent(): Buffer {
  const size = 64 * 1024 * 1024
  const noise = keystream('content', (size / unit) * 4)
  const phrases = keystream('phrases', 256 * phrase)
  const content = Buffer.alloc(size)
  for (let at = 0, from = 0; at < size; at += unit, from += 4) {
    noise.copy(content, at, from, from + unit - phrase)
    const which = (noise[from + 3] ?? 0) * phrase
    phrases.copy(content, at + unit - phrase, which, which + phrase)
  }
  return content
}

// Three bytes of noise, thirteen that came before: gzip makes a third of it.
const unit = 16
const phrase = 13

function keystream(seed: string, size: number): Buffer {
  const key = createHash('sha256').update(seed).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size))
}
