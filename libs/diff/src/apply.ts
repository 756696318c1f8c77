import { type ApplyRequest, ApplyResponse } from '@flotilla/api/containerd/services/diff/v1/diff'
import type { Descriptor, Mount } from '@flotilla/api/containerd/types/types'
import type { Any } from '@flotilla/api/google/protobuf/any'
import type { ApplyResult, LayerPool, LayerTarget } from '@flotilla/layers'
import { syncfs, withTempMount } from '@flotilla/linux'
import { type Call, requireNamespace } from '@flotilla/rpc'
import { type OpenBlob, openBlob } from './blob.ts'
import type { DiffServiceDeps } from './deps.ts'
import { ociLayer } from './media-types.ts'
import { processorChain, runChain } from './processors.ts'
import { inUserNamespace, syncPath, writableOverlay } from './targets.ts'

/** Diff.Apply: unpacks a layer of the caller's content into the mounts; answers the uncompressed stream. */
export async function apply(deps: DiffServiceDeps, request: ApplyRequest, call: Call): Promise<ApplyResponse> {
  requireNamespace(call)
  const { digest = '', mediaType = '' } = request.diff ?? {}
  await using blob = await openBlob(deps, digest, call)
  const result = await applyBlob(deps, deps.pool, blob, { ...request, mediaType }, call)
  return ApplyResponse.fromPartial({ applied: appliedOf(result) })
}

/** The descriptor of an uncompressed stream. */
export function appliedOf({ digest, size }: ApplyResult): Pick<Descriptor, 'mediaType' | 'digest' | 'size'> {
  return { mediaType: ociLayer, digest, size }
}

export interface Application {
  /** Of the blob. */
  readonly mediaType: string
  readonly mounts: readonly Mount[]
  /** What the mounts lead to, when they need not be mounted. */
  readonly target?: LayerTarget
  readonly payloads: Readonly<Record<string, Any>>
  readonly syncFs: boolean
}

/** Unpacks a blob that is open into mounts, by a thread of the pool. */
export async function applyBlob(
  deps: DiffServiceDeps,
  pool: LayerPool,
  blob: OpenBlob,
  { mediaType, mounts, target: known, payloads, syncFs }: Application,
  call: Call,
): Promise<ApplyResult> {
  const chain = processorChain(mediaType, deps.processors ?? [])
  await using stream = runChain(chain, blob.fd, payloads, deps.tmpDir, call.signal)
  const result = await withTarget(deps, mounts, known, async (target) => {
    const from = { fd: stream.fd, size: blob.growsTo }
    const source = { from, compression: chain.treatment === 'detect' ? 'detect' : 'none' } as const
    const skipDevices = inUserNamespace()
    const applied = pool.apply({ source, target, skipDevices, signal: call.signal })
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
  const path = syncPath(mounts)
  if ((syncFs || deps.syncFs?.() === true) && path !== undefined) await syncfs(path)
  return result
}

async function withTarget<T>(
  deps: DiffServiceDeps,
  mounts: readonly Mount[],
  known: LayerTarget | undefined,
  use: (target: LayerTarget) => Promise<T>,
): Promise<T> {
  if (known !== undefined) return await use(known)
  const overlay = inUserNamespace() ? undefined : writableOverlay(mounts)
  if (overlay !== undefined) return await use({ kind: 'overlay', ...overlay })
  return await withTempMount(mounts, { tmpDir: deps.tmpDir }, (root) => use({ kind: 'plain', root }))
}
