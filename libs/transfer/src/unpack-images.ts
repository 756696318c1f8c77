import type { ImageStore } from '@flotilla/api/containerd/types/transfer/transfer'
import { readBlob } from '@flotilla/content-client'
import { type Descriptor, hostPlatform, kindOf, type Platform, rankOf } from '@flotilla/oci'
import { maxManifestSize } from '@flotilla/registry'
import { type Call, failedPrecondition } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'
import type { LayerEvents } from './layer-snapshot.ts'
import type { Tracker } from './progress.ts'
import { fetchesLayers } from './remote-layers.ts'
import { parseObject } from './tree.ts'
import { defaultSnapshotter, driverOf, unpack } from './unpack.ts'

/** What an image's configuration says that unpacking needs. */
interface ImageConfig {
  readonly platform: Platform
  readonly diffIds: readonly string[]
}

async function readConfig(deps: TransferDeps, config: Descriptor, call: Call): Promise<ImageConfig> {
  const where = `config ${config.digest}`
  const found = parseObject(await readBlob(deps.content, config.digest, maxManifestSize, call), where)
  const text = (value: unknown) => (typeof value === 'string' ? value : '')
  const rootfs = found.rootfs as { diff_ids?: unknown } | undefined
  const diffIds = rootfs?.diff_ids ?? []
  if (!Array.isArray(diffIds) || !diffIds.every((one) => typeof one === 'string'))
    throw failedPrecondition(`${where}: diff_ids is no list of digests`)
  const platform = { os: text(found.os), architecture: text(found.architecture), variant: text(found.variant) }
  return { platform, diffIds }
}

/** A manifest that is in content, and what of it is wanted. */
export interface ManifestToUnpack {
  readonly manifest: Descriptor
  readonly children: readonly Descriptor[]
  /** By which it is pulled; absent when it comes from elsewhere than a registry. */
  readonly reference?: string
}

/** Whether layers are to be downloaded only when the snapshotters that a store names have asked for them. */
export async function downloadsOnDemand(deps: TransferDeps, store: ImageStore, call: Call): Promise<boolean> {
  for (const { snapshotter } of store.unpacks)
    if (!fetchesLayers(await driverOf(deps, snapshotter || defaultSnapshotter, call))) return false
  return store.unpacks.length > 0
}

/**
 * Unpacks the layers among a manifest's children as a store wants it, once for each of its snapshotters. When none is to
 * unpack them, it returns when they are in content.
 *
 * @param coming says when children are in content, where they come to when first asked for
 */
export async function unpackImage(
  deps: TransferDeps,
  store: ImageStore,
  { manifest, children, reference }: ManifestToUnpack,
  coming: Pick<LayerEvents, 'ready' | 'arriving'>,
  tracker: Tracker | undefined,
  call: Call,
): Promise<void> {
  const config = children.find((child) => kindOf(child) === 'config')
  const layers = children.filter((child) => kindOf(child) === 'layer')
  const onlyFetched = async () => void (await Promise.all(layers.map((layer) => coming.ready(layer))))
  if (config === undefined || layers.length === 0 || store.unpacks.length === 0) return await onlyFetched()
  await coming.ready(config)
  const { platform, diffIds } = await readConfig(deps, config, call)
  const snapshotters = new Set(
    store.unpacks
      .filter((one) => rankOf([isGiven(one.platform) ? one.platform : hostPlatform], platform) >= 0)
      .map(({ snapshotter }) => snapshotter || defaultSnapshotter),
  )
  if (snapshotters.size === 0) return await onlyFetched()
  const from = reference === undefined ? undefined : { reference, manifest }
  for (const snapshotter of snapshotters)
    await unpack(
      deps,
      { snapshotter, layers, diffIds, config, from, ...coming, told: (layer, event) => tracker?.ended(layer, event) },
      call,
    )
}

function isGiven<T extends { os: string; architecture: string }>(platform: T | undefined): platform is T {
  return platform !== undefined && (platform.os !== '' || platform.architecture !== '')
}
