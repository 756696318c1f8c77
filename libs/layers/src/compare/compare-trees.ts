import { setImmediate as turn } from 'node:timers/promises'
import type { Compression } from '@flotilla/oci/compression'
import { tarTrailer } from '../tar/writer.ts'
import { ChangeWriter } from './change-writer.ts'
import { changes, isSelfContained, type UpperForm } from './changes.ts'
import { type CompareResult, LayerOutput } from './layer-output.ts'
import { TreeSide } from './tree-side.ts'

export interface CompareRequest {
  /** The tree that the layer will be applied to. */
  readonly lower: string
  /** The tree that results, or an overlay's upper directory over `lower`. */
  readonly upper: string
  readonly form: UpperForm
  readonly compression: Compression
  /** Whole seconds since the epoch; no time in the layer is later. */
  readonly sourceDateEpoch?: number
  /** File to make; it must not exist. */
  readonly outputPath: string
}

/** Changes handled between two looks at the abort signal. */
const changesPerTurn = 1000

/**
 * Writes the layer that turns `lower` into `upper`, in this thread. undefined when `upper` is an overlay's upper
 * directory that cannot be read by itself; then nothing was written, and the mounted overlay is to be compared.
 */
export async function compareTrees(request: CompareRequest, signal: AbortSignal): Promise<CompareResult | undefined> {
  const lower = new TreeSide(request.lower)
  const upper = new TreeSide(request.upper)
  if (request.form !== 'whole' && !isSelfContained(upper, request.form)) return undefined
  const writer = new ChangeWriter(upper, request.sourceDateEpoch)
  using output = new LayerOutput(request.outputPath, request.compression)
  let count = 0
  for (const change of changes({ lower, upper, form: request.form })) {
    if (++count % changesPerTurn === 0) await turn()
    signal.throwIfAborted()
    for (const piece of writer.write(change)) {
      const full = output.write(piece)
      if (full === undefined) continue
      await full
      signal.throwIfAborted()
    }
  }
  await output.write(tarTrailer())
  return await output.finish()
}
