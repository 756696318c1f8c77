import { type ApplyRequest, ApplyResponse } from '@flotilla/api/containerd/services/diff/v1/diff'
import type { Mount } from '@flotilla/api/containerd/types/types'
import type { LayerTarget } from '@flotilla/layers'
import { syncfs, withTempMount } from '@flotilla/linux'
import { type Call, requireNamespace } from '@flotilla/rpc'
import { openBlob } from './blob.ts'
import type { DiffServiceDeps } from './deps.ts'
import { ociLayer } from './media-types.ts'
import { processorChain, runChain } from './processors.ts'
import { inUserNamespace, syncPath, writableOverlay } from './targets.ts'

/** Diff.Apply: unpacks a layer of the caller's content into the mounts; answers the uncompressed stream. */
export async function apply(deps: DiffServiceDeps, request: ApplyRequest, call: Call): Promise<ApplyResponse> {
  requireNamespace(call)
  const { digest = '', mediaType = '' } = request.diff ?? {}
  await using blob = await openBlob(deps, digest, call)
  const chain = processorChain(mediaType, deps.processors ?? [])
  await using stream = runChain(chain, blob.fd, request.payloads, deps.tmpDir, call.signal)
  const result = await withTarget(deps, request.mounts, async (target) => {
    const source = { from: { fd: stream.fd }, compression: chain.treatment === 'detect' ? 'detect' : 'none' } as const
    const skipDevices = inUserNamespace()
    const applied = deps.pool.apply({ source, target, skipDevices, signal: call.signal })
    // A program that failed explains more than the broken stream it left.
    const failure = await applied.then(
      () => undefined,
      (error: unknown) => ({ error }),
    )
    if (failure !== undefined && chain.steps.length > 0 && !call.signal.aborted) await stream.failed()
    if (failure !== undefined) throw failure.error
    await stream.finished()
    await blob.finished()
    return await applied
  })
  const path = syncPath(request.mounts)
  if ((request.syncFs || deps.syncFs === true) && path !== undefined) await syncfs(path)
  return ApplyResponse.fromPartial({ applied: { mediaType: ociLayer, digest: result.digest, size: result.size } })
}

async function withTarget<T>(
  deps: DiffServiceDeps,
  mounts: readonly Mount[],
  use: (target: LayerTarget) => Promise<T>,
): Promise<T> {
  const overlay = inUserNamespace() ? undefined : writableOverlay(mounts)
  if (overlay !== undefined) return await use({ kind: 'overlay', ...overlay })
  return await withTempMount(mounts, { tmpDir: deps.tmpDir }, (root) => use({ kind: 'plain', root }))
}
