import { type FileHandle, open } from 'node:fs/promises'
import { type ApplyRequest, ApplyResponse } from '@flotilla/api/containerd/services/diff/v1/diff'
import type { Mount } from '@flotilla/api/containerd/types/types'
import type { LayerTarget } from '@flotilla/layers'
import { errnoOf, syncfs, withTempMount } from '@flotilla/linux'
import { type Call, notFound, RpcError, requireNamespace } from '@flotilla/rpc'
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
    return await applied
  })
  const path = syncPath(request.mounts)
  if ((request.syncFs || deps.syncFs === true) && path !== undefined) await syncfs(path)
  return ApplyResponse.fromPartial({ applied: { mediaType: ociLayer, digest: result.digest, size: result.size } })
}

async function openBlob(deps: DiffServiceDeps, digest: string, call: Call): Promise<FileHandle> {
  try {
    const { path } = await deps.blobs.locate({ digest }, call)
    return await open(path, 'r').catch((error: unknown) => {
      // Collected between the two calls.
      throw errnoOf(error) === 'ENOENT' ? notFound(`content digest ${digest}`) : error
    })
  } catch (error) {
    if (!(error instanceof RpcError)) throw error
    throw new RpcError(error.code, `failed to get reader from content store: ${error.message}`, { cause: error })
  }
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
