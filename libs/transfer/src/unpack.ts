import type { Driver } from '@flotilla/api/flotilla/node/v1/node'
import { chainIds, type Descriptor } from '@flotilla/oci'
import { type Call, hasCode, status, unknown } from '@flotilla/rpc'
import { labels } from './content-labels.ts'
import type { TransferDeps } from './deps.ts'
import { isHeld, type LayerEvents, type LayerSnapshot, unpacked } from './layer-snapshot.ts'
import { fetchesLayers, inheritedLabels, type PulledFrom, whereToFetch } from './remote-layers.ts'
import { unpackApart } from './unpack-apart.ts'
import { unpackRemote } from './unpack-remote.ts'
import { unpackStacked } from './unpack-stacked.ts'

export const defaultSnapshotter = 'overlayfs'

export interface UnpackRequest extends LayerEvents {
  readonly snapshotter: string
  /** From the bottom. */
  readonly layers: readonly Descriptor[]
  /** Of the uncompressed layers. */
  readonly diffIds: readonly string[]
  readonly config: Descriptor
  /** Where the layers can be fetched; undefined when they come from elsewhere than a registry. */
  readonly from: PulledFrom | undefined
}

/** Makes the snapshots of an image's layers that are not there yet; the lease holds them all. */
export async function unpack(deps: TransferDeps, request: UnpackRequest, call: Call): Promise<void> {
  const { config, diffIds, from, layers, snapshotter } = request
  if (layers.length !== diffIds.length)
    throw unknown(`number of layers and diffIDs don't match: ${layers.length} != ${diffIds.length}`)
  const chain = chainIds(diffIds)
  const driver = await driverOf(deps, snapshotter, call)
  const isRemote = from !== undefined && fetchesLayers(driver)
  const snapshots = layers.map((layer, at) => {
    const [chainId = '', diffId = '', parent = ''] = [chain[at], diffIds[at], chain[at - 1]]
    const labels = { ...inheritedLabels(layer), ...(isRemote ? whereToFetch(from, layers.slice(at)) : {}) }
    return { snapshotter, chainId, diffId, layer, parent, labels }
  })
  await deps.unpackings.removeAbandoned(deps, snapshotter, call)
  const top = chain.at(-1)
  if (isRemote) await unpackRemote(deps, snapshots, request, call)
  // What lies below a snapshot that stays does so too.
  else if (top !== undefined && (await isHeld(deps, snapshotter, top, call)))
    await noteUnpacked(deps, snapshots, request, call)
  else if (!(await unpackedApart(deps, driver, snapshots, request, call)))
    await unpackStacked(deps, snapshots, request, call)
  if (top !== undefined)
    await labels(deps, config.digest, { [`containerd.io/gc.ref.snapshot.${snapshotter}`]: top }, call)
}

/** Undefined when this node has none by that name. */
export async function driverOf(deps: TransferDeps, snapshotter: string, call: Call): Promise<Driver | undefined> {
  const { drivers } = await deps.drivers.list({}, call)
  return drivers.find(({ name }) => name === snapshotter)
}

/** Notes and tells of each layer that its snapshot is there, once the layer is. */
async function noteUnpacked(
  deps: TransferDeps,
  snapshots: readonly LayerSnapshot[],
  events: LayerEvents,
  call: Call,
): Promise<void> {
  for (const snapshot of snapshots) {
    await events.ready(snapshot.layer)
    await unpacked(deps, snapshot, events, call)
  }
}

/** False when the snapshotter wants them one upon the other. */
async function unpackedApart(
  deps: TransferDeps,
  driver: Driver | undefined,
  snapshots: readonly LayerSnapshot[],
  request: UnpackRequest,
  call: Call,
): Promise<boolean> {
  if (driver?.capabilities.includes('rebase') !== true) return false
  try {
    await unpackApart(deps, snapshots, request, call)
    return true
  } catch (error) {
    if (hasCode(error, status.UNIMPLEMENTED)) return false
    throw error
  }
}
