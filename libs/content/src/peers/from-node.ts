import { freeMemory, hasCode, makeCall, status } from '@flotilla/rpc'
import type { Store } from '../store.ts'
import type { PartialBlob } from './partial-blob.ts'
import type { Peers, Wanted } from './peers.ts'
import { Silence } from './silence.ts'

/** Milliseconds without a word after which a node counts as gone. */
export const longestSilence = 4_000

export interface Source {
  readonly node: string
  /** Which pieces it has. */
  readonly has: (piece: number) => boolean
}

/**
 * Fills a partial blob with pieces from one node, as long as it has some that are missing.
 *
 * @param onPiece told of each piece that came
 */
export async function takePieces(
  { closing }: Store,
  peers: Peers,
  { digest }: Wanted,
  partial: PartialBlob,
  { node, has }: Source,
  onPiece: () => void,
): Promise<void> {
  using silence = new Silence(longestSilence)
  const call = makeCall({ signal: AbortSignal.any([closing, silence.signal]) })
  let count = 0
  for (let piece = partial.take(has); piece !== undefined; piece = partial.take(has)) {
    const { offset, size } = partial.missingOf(piece)
    let at = 0
    try {
      silence.listen()
      for await (const { data } of peers.blobs(node).read({ digest, offset, size }, call)) {
        silence.heard()
        // No bytes while this node waits for its turn there.
        if (at + data.length > size) throw new Error('it sent more than was asked for')
        await partial.write(data, offset + at)
        at += data.length
        freeMemory(data)
        silence.listen()
      }
      silence.heard()
      if (at !== size) throw new Error(`it sent ${at} of ${size} bytes`)
      await partial.mark(piece)
      count++
      onPiece()
    } catch (error) {
      partial.giveBack(piece, at)
      // What is arriving there may begin anew, if it was damaged: others of the pieces were not there after all.
      if (count > 0 && hasCode(error, status.OUT_OF_RANGE)) return
      throw silence.signal.aborted ? new Error('it fell silent', { cause: error }) : error
    }
  }
}
