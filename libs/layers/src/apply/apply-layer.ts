import { createHash } from 'node:crypto'
import { type LayerSource, openLayer } from '../compression.ts'
import { TarReader } from '../tar/reader.ts'
import { type ImpliedDirectory, type LayerTarget, LayerWriter, type LayerWriterOptions } from './layer-writer.ts'

export interface ApplyRequest extends LayerWriterOptions {
  readonly source: LayerSource
  readonly target: LayerTarget
}

/** The uncompressed stream, also what follows the tar's end. */
export interface ApplyResult {
  readonly digest: string
  /** Bytes. */
  readonly size: number
  /** Directories to which the layers below add something, see `adoptParents`; each after the one that it lies in. */
  readonly implied: readonly ImpliedDirectory[]
}

/**
 * Unpacks a layer into its target, in this thread. When it fails or is aborted the target keeps what was written so far:
 * its snapshot is to be removed.
 */
export async function applyLayer(request: ApplyRequest, signal: AbortSignal): Promise<ApplyResult> {
  const hash = createHash('sha256')
  let size = 0
  using writer = new LayerWriter(request.target, request)
  const reader = new TarReader(writer)
  for await (const chunk of openLayer(request.source, signal)) {
    signal.throwIfAborted()
    hash.update(chunk)
    size += chunk.length
    reader.push(chunk)
  }
  signal.throwIfAborted()
  reader.finish()
  writer.finish()
  return { digest: `sha256:${hash.digest('hex')}`, size, implied: writer.implied() }
}
