import { closeSync, readv as readCallback, readvSync } from 'node:fs'
import { promisify } from 'node:util'
import { dataLoss } from '@flotilla/rpc'
import type { Room } from './bytes.ts'
import type { Digest } from './digest.ts'
import { ShortCalls } from './short-calls.ts'

const readAt = promisify(readCallback)

/** A part of a blob in a file. */
export interface FilePart {
  /** Opens the file; called once the first piece is asked for. */
  readonly open: () => number
  /** For errors. */
  readonly digest: Digest
  readonly start: number
  readonly end: number
}

/**
 * The bytes of a part in rooms of the caller's: while one goes out the next one is filled.
 *
 * @throws DATA_LOSS when the file ends before the part does
 */
export async function* filePieces<R extends Room>(
  { digest, end, open, start }: FilePart,
  roomFor: (from: number, most: number) => R,
  calls = new ShortCalls(),
): AsyncGenerator<R> {
  const fd = open()
  const readFrom = async (from: number) => fill(fd, digest, from, roomFor(from, end - from), calls)
  let pending = readFrom(start)
  try {
    for (let at = start; at < end; ) {
      const room = await pending
      at += room.length
      if (at < end) {
        pending = readFrom(at)
        // Its failure is told when its turn comes, which may be never.
        pending.catch(() => {})
      }
      yield room
    }
  } finally {
    // Closing under a read would let it end in a file that got the same number meanwhile.
    await pending.catch(() => {})
    closeSync(fd)
  }
}

/** A room of its own, for who takes the bytes as they are. */
export function ownRoom(length: number): Room & { readonly data: Buffer } {
  const data = Buffer.allocUnsafe(length)
  return { data, places: [data], length }
}

/** Reads all that the room takes. */
async function fill<R extends Room>(fd: number, digest: Digest, from: number, room: R, calls: ShortCalls): Promise<R> {
  for (let done = 0; done < room.length; ) {
    const places = done === 0 ? room.places : without(room.places, done)
    const now = calls.make(room.length, () => readvSync(fd, places, from + done))
    const bytesRead = now ?? (await readAt(fd, places, from + done)).bytesRead
    if (bytesRead === 0) throw dataLoss(`content ${digest.text} ends at ${from + done} bytes, too early`)
    done += bytesRead
  }
  return room
}

/** Places without so many bytes at their beginning. */
function without(places: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes
  return places.flatMap((place) => {
    const skipped = Math.min(left, place.length)
    left -= skipped
    return skipped === place.length ? [] : [place.subarray(skipped)]
  })
}
