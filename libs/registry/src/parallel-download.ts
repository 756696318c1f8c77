import type { Slots } from '@flotilla/turns'
import { type Download, RangesRefused, readSpan } from './download.ts'

/** Bytes of one request, and what one part holds of memory until its turn comes. */
export const partSize = 8 * 1024 * 1024

/**
 * The content from `start` on, in order, by up to `count` requests at once; each but the one whose turn it is needs a
 * free slot. A registry that gives no parts is read in one go from where we are.
 */
export async function* readInParts(
  download: Download,
  start: number,
  count: number,
  slots: Slots,
): AsyncGenerator<Uint8Array> {
  const { size } = download.descriptor
  const stop = new AbortController()
  const signal = download.signal ? AbortSignal.any([download.signal, stop.signal]) : stop.signal
  const parts: Array<{ readonly bytes: Promise<Uint8Array[]>; readonly end: number }> = []
  let next = start
  let position = start

  function begin(release: () => void) {
    const from = next
    next = Math.min(from + partSize, size)
    const bytes = collect(readSpan({ ...download, signal }, from, next)).finally(release)
    // A part that fails is heard of when its turn comes.
    bytes.catch(() => {})
    parts.push({ bytes, end: next })
  }

  try {
    // The first alone shows whether the registry gives parts.
    for (begin(() => {}); parts.length > 0; ) {
      const [part] = parts
      const pieces = (await part?.bytes) ?? []
      parts.shift()
      while (parts.length < count && next < size) {
        const release = parts.length === 0 ? () => {} : slots.tryTake()
        if (release === undefined) break
        begin(release)
      }
      for (const bytes of pieces) {
        yield bytes
        position += bytes.length
      }
    }
  } catch (error) {
    if (!(error instanceof RangesRefused)) throw error
    stop.abort()
    yield* readSpan(download, position, size)
  } finally {
    stop.abort()
  }
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = []
  for await (const bytes of source) pieces.push(bytes)
  return pieces
}
