import { readBlob } from '@flotilla/content-client'
import { checkedDescriptor, type Descriptor, kindOf, type Platform, rankOf } from '@flotilla/oci'
import { maxManifestSize } from '@flotilla/registry'
import { type Call, failedPrecondition, notFound } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'

/** Which parts of an image are meant. */
export interface Selection {
  /** In order of preference; empty means all. */
  readonly platforms: readonly Partial<Platform>[]
  /** Take manifests and configurations of other platforms too. */
  readonly allMetadata?: boolean
  /** Most manifests of an index; 0 for all. */
  readonly manifestLimit?: number
}

/** What a manifest or index names, in its order: configuration, layers or manifests. Other content names nothing. */
export async function childrenOf(deps: TransferDeps, descriptor: Descriptor, call: Call): Promise<Descriptor[]> {
  const kind = kindOf(descriptor)
  if (kind !== 'manifest' && kind !== 'index') return []
  return childrenIn(await readBlob(deps.content, descriptor.digest, maxManifestSize, call), descriptor)
}

export function childrenIn(bytes: Uint8Array, descriptor: Descriptor): Descriptor[] {
  const kind = kindOf(descriptor)
  const where = `${kind} ${descriptor.digest}`
  const found = parseObject(bytes, where)
  // A document that can be read as both may be shown to be one thing here and another there.
  if (kind === 'index' ? 'config' in found || 'layers' in found : 'manifests' in found)
    throw failedPrecondition(`${where}: is both a manifest and an index`)
  if (kind === 'index') return listOf(found.manifests, where)
  return [checkedDescriptor(found.config, where), ...listOf(found.layers, where)]
}

function listOf(value: unknown, where: string): Descriptor[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw failedPrecondition(`${where}: a list is none`)
  return value.map((one) => checkedDescriptor(one, where))
}

/** @throws FAILED_PRECONDITION naming `where` when the bytes are no JSON object. */
export function parseObject(bytes: Uint8Array, where: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes).toString())
  } catch (error) {
    throw failedPrecondition(`${where}: ${error instanceof Error ? error.message : error}`, { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw failedPrecondition(`${where}: is no JSON object`)
  return value as Record<string, unknown>
}

/**
 * Those children of a descriptor that a selection means.
 *
 * @throws NOT_FOUND when an index has manifests, none of them for a wanted platform, and only those are meant
 */
export function selected(parent: Descriptor, children: readonly Descriptor[], selection: Selection): Descriptor[] {
  const { platforms, allMetadata = false, manifestLimit = 0 } = selection
  const isWanted = ({ platform }: Descriptor) =>
    platforms.length === 0 || platform === undefined || rankOf(platforms, platform) >= 0
  if (kindOf(parent) === 'manifest') {
    // Of another platform: only what describes it.
    return isWanted(parent) ? [...children] : children.filter((child) => kindOf(child) === 'config')
  }
  const wanted = children.filter(isWanted)
  if (wanted.length === 0 && children.length > 0 && !allMetadata)
    throw notFound(`no match for platform in manifest ${parent.digest}`)
  const rank = ({ platform }: Descriptor) => {
    const found = platform === undefined ? platforms.length + 1 : rankOf(platforms, platform)
    return found < 0 ? platforms.length : found
  }
  const taken = allMetadata ? [...children] : wanted
  if (manifestLimit > 0) return taken.sort((one, other) => rank(one) - rank(other)).slice(0, manifestLimit)
  return taken
}

/** The labels with which a manifest or index keeps its children from collection. */
export function childLabels(children: readonly Descriptor[]): Record<string, string> {
  const labels: Record<string, string> = {}
  const counts = new Map<string, number>()
  for (const child of children) {
    const kind = kindOf(child)
    const key = { manifest: 'm.', index: 'm.', layer: 'l.', config: 'config', unknown: '' }[kind]
    const index = counts.get(key) ?? 0
    counts.set(key, index + 1)
    const suffix = key !== 'config' || index > 0 ? String(index) : ''
    labels[`containerd.io/gc.ref.content.${key}${suffix}`] = child.digest
  }
  return labels
}
