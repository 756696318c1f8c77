import type { Mount } from '@flotilla/api/containerd/types/types'
import { type LayersDefinition, type UnpackRequest, UnpackResponse } from '@flotilla/api/flotilla/diff/v1/diff'
import { adoptParents, type LayerPool, type LayerTarget } from '@flotilla/layers'
import { type Call, requireNamespace, resourceExhausted, type ServiceOf, unimplemented } from '@flotilla/rpc'
import { type Application, appliedOf, applyBlob } from './apply.ts'
import { openBlob, openIngest } from './blob.ts'
import type { DiffServiceDeps } from './deps.ts'
import { processorChain } from './processors.ts'
import { inUserNamespace, writableOverlay } from './targets.ts'

export interface LayersServiceDeps extends DiffServiceDeps {
  /**
   * The threads for layers that are unpacked as they arrive. Others than those of the differ: they wait for a registry
   * most of the time. The caller's, who closes it.
   */
  readonly arrivals: LayerPool
  /** Layers at a time that are unpacked as they arrive: as many as `arrivals` has threads. */
  readonly maxArrivals: number
}

/** What the transfer service of a node asks of its differ. */
export function createLayersService(deps: LayersServiceDeps): ServiceOf<LayersDefinition> {
  let arriving = 0

  async function unpackArriving(request: UnpackRequest, call: Call) {
    const { mediaType = '', size = 0 } = request.diff ?? {}
    if (processorChain(mediaType, deps.processors ?? []).steps.length > 0)
      throw unimplemented(`stream processors for ${mediaType} want all of the layer`)
    if (arriving >= deps.maxArrivals) throw resourceExhausted(`${arriving} layers are unpacked as they arrive`)
    arriving++
    try {
      await using blob = await openIngest(deps, request.ingest, size, call)
      return await applyBlob(deps, deps.arrivals, blob, applicationOf(request), call)
    } finally {
      arriving--
    }
  }

  async function unpackContent(request: UnpackRequest, call: Call) {
    await using blob = await openBlob(deps, request.diff?.digest ?? '', call)
    return await applyBlob(deps, deps.pool, blob, applicationOf(request), call)
  }

  return {
    async unpack(request, call) {
      requireNamespace(call)
      const result = await (request.ingest === '' ? unpackContent : unpackArriving)(request, call)
      const implied = result.implied.map(({ path, described }) => ({ path: Buffer.from(path, 'latin1'), described }))
      return UnpackResponse.fromPartial({ applied: appliedOf(result), implied })
    },
    async adoptParents({ upper, lowers, implied }, call) {
      const named = implied.map(({ path, described }) => ({ path: path.toString('latin1'), described }))
      await adoptParents({ upper, lowers, implied: named }, call.signal)
      return {}
    },
  }
}

/** The directory that mounts lead to; others than such are the differ's, which mounts them. */
function targetOf(mounts: readonly Mount[]): LayerTarget {
  const [mount, ...others] = mounts
  if (!inUserNamespace() && others.length === 0) {
    const overlay = writableOverlay(mounts)
    if (overlay !== undefined) return { kind: 'overlay', ...overlay }
    if (mount?.type === 'bind' && !mount.options.includes('ro')) return { kind: 'plain', root: mount.source }
  }
  throw unimplemented('layers are unpacked apart into single directories only')
}

/** For nodes where another program unpacks layers: it is asked by containerd's API. */
export function layersElsewhere(): ServiceOf<LayersDefinition> {
  const refuse = async () => {
    throw unimplemented('another program is the differ')
  }
  return { unpack: refuse, adoptParents: refuse }
}

const applicationOf = ({ diff, mounts }: UnpackRequest): Application => ({
  mediaType: diff?.mediaType ?? '',
  mounts,
  target: targetOf(mounts),
  payloads: {},
  syncFs: false,
})
