import { chainIds, type Descriptor } from '@flotilla/oci'
import { type Call, hasCode, status, unknown } from '@flotilla/rpc'
import { labels } from './content-labels.ts'
import type { TransferDeps } from './deps.ts'
import type { LayerEvents, LayerSnapshot } from './layer-snapshot.ts'
import { unpackApart } from './unpack-apart.ts'
import { unpackStacked } from './unpack-stacked.ts'

export const defaultSnapshotter = 'overlayfs'

export interface UnpackRequest extends LayerEvents {
  readonly snapshotter: string
  /** From the bottom. */
  readonly layers: readonly Descriptor[]
  /** Of the uncompressed layers. */
  readonly diffIds: readonly string[]
  readonly config: Descriptor
}

/** Makes the snapshots of an image's layers that are not there yet; the lease holds them all. */
export async function unpack(deps: TransferDeps, request: UnpackRequest, call: Call): Promise<void> {
  const { config, diffIds, layers, snapshotter } = request
  if (layers.length !== diffIds.length)
    throw unknown(`number of layers and diffIDs don't match: ${layers.length} != ${diffIds.length}`)
  const chain = chainIds(diffIds)
  const snapshots = layers.map((layer, at) => {
    const [chainId = '', diffId = '', parent = ''] = [chain[at], diffIds[at], chain[at - 1]]
    return { snapshotter, chainId, diffId, layer, parent }
  })
  await deps.unpackings.removeAbandoned(deps, snapshotter, call)
  if (!(await unpackedApart(deps, snapshots, request, call))) await unpackStacked(deps, snapshots, request, call)
  const top = chain.at(-1)
  if (top !== undefined)
    await labels(deps, config.digest, { [`containerd.io/gc.ref.snapshot.${snapshotter}`]: top }, call)
}

/** False when the snapshotter wants them one upon the other. */
async function unpackedApart(
  deps: TransferDeps,
  snapshots: readonly LayerSnapshot[],
  request: UnpackRequest,
  call: Call,
): Promise<boolean> {
  const { drivers } = await deps.drivers.list({}, call)
  const driver = drivers.find(({ name }) => name === request.snapshotter)
  if (driver?.capabilities.includes('rebase') !== true) return false
  try {
    await unpackApart(deps, snapshots, request, call)
    return true
  } catch (error) {
    if (hasCode(error, status.UNIMPLEMENTED)) return false
    throw error
  }
}
