import type { ImageStore, OCIRegistry } from '@flotilla/api/containerd/types/transfer/transfer'
import { type Descriptor, isNonDistributable, kindOf } from '@flotilla/oci'
import { mountSources, type Reference } from '@flotilla/registry'
import { type Call, hasCode, notFound, status, withCall } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'
import { fromWire, toWire } from './descriptor.ts'
import { holding } from './lease.ts'
import { type Progress, Tracker } from './progress.ts'
import { repositoryOf } from './registry-access.ts'
import { childrenOf, selected } from './tree.ts'

/** Blobs on their way at once. */
const uploads = 4

/** Brings an image to a registry: what it names first, then itself. */
export async function push(
  deps: TransferDeps,
  store: ImageStore,
  destination: OCIRegistry,
  progress: Progress,
  call: Call,
): Promise<void> {
  const { image } = await deps.images.get({ name: store.name }, call)
  if (image?.target === undefined) throw notFound(`image "${store.name}"`)
  const target = fromWire(image.target)
  const to = `OCI Registry (${destination.reference})`
  progress.report(`Pushing to ${to}`)
  progress.report('pushing content', { name: image.name, desc: image.target })
  await using repository = repositoryOf(deps, destination, call)
  await holding(deps, [target], call, async (held) => {
    using tracker = new Tracker(progress, image.name, 'uploading')
    const { blobs, manifests } = await partsOf(deps, target, store, repository.reference, tracker, held)
    const pushOne = async ({ descriptor, mountFrom }: Part, signal: AbortSignal) => {
      const during = withCall(held, { signal })
      const outcome = await repository.push(descriptor, (offset) => bytesOf(deps, descriptor, offset, during), {
        mountFrom,
        tag: descriptor.digest === target.digest ? repository.reference.tag : undefined,
        onProgress: (sent) => tracker.moved(descriptor, sent),
        signal,
      })
      tracker.ended(descriptor, outcome === 'pushed' ? 'complete' : 'already exists')
    }
    await eachAtMost(uploads, blobs, call.signal, pushOne)
    // A registry takes a manifest only when it has all that it names.
    for (const manifest of manifests) await pushOne(manifest, call.signal)
  })
  progress.report('pushed content', { name: image.name, desc: toWire(target) })
  progress.conclude(`Completed push to ${to}`, { desc: toWire(target) })
}

interface Part {
  readonly descriptor: Descriptor
  /** Repositories of the same registry that have it, or have what names it and so, as registries go, it too. */
  readonly mountFrom: readonly string[]
}

interface Parts {
  readonly blobs: readonly Part[]
  /** Those that are named before those that name them. */
  readonly manifests: readonly Part[]
}

async function partsOf(
  deps: TransferDeps,
  target: Descriptor,
  store: ImageStore,
  reference: Reference,
  tracker: Tracker,
  call: Call,
): Promise<Parts> {
  const blobs = new Map<string, Part>()
  const manifests = new Map<string, Part>()
  const walk = async (descriptor: Descriptor, inherited: readonly string[]): Promise<void> => {
    tracker.add(descriptor)
    const own = mountSources(reference, await labelsOf(deps, descriptor, call))
    const part = { descriptor, mountFrom: [...new Set([...own, ...inherited])] }
    const kind = kindOf(descriptor)
    if (kind !== 'manifest' && kind !== 'index') {
      if (!isNonDistributable(descriptor)) blobs.set(descriptor.digest, part)
      return
    }
    if (manifests.has(descriptor.digest)) return
    const all = await childrenOf(deps, descriptor, call)
    const children = kind === 'index' ? selected(descriptor, all, { platforms: store.platforms }) : all
    tracker.children(descriptor, children)
    for (const child of children) await walk(child, part.mountFrom)
    manifests.set(descriptor.digest, part)
  }
  await walk(target, [])
  return { blobs: [...blobs.values()], manifests: [...manifests.values()] }
}

/** Labels of content; none of what is not here, which the registry may have all the same. */
async function labelsOf(deps: TransferDeps, { digest }: Descriptor, call: Call): Promise<Record<string, string>> {
  try {
    return (await deps.content.info({ digest }, call)).info?.labels ?? {}
  } catch (error) {
    if (hasCode(error, status.NOT_FOUND)) return {}
    throw error
  }
}

async function* bytesOf(deps: TransferDeps, { digest }: Descriptor, offset: number, call: Call) {
  for await (const { data } of deps.content.read({ digest, offset, size: 0 }, call)) yield data
}

/** Does work for each, so many at a time; the first failure ends the others and is thrown when they have ended. */
async function eachAtMost<T>(
  most: number,
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController()
  const both = AbortSignal.any([signal, failed.signal])
  const left = [...items]
  const worker = async () => {
    for (let item = left.shift(); item !== undefined && !both.aborted; item = left.shift()) {
      await work(item, both).catch((error: unknown) => failed.abort(error))
    }
  }
  await Promise.all(Array.from({ length: most }, worker))
  both.throwIfAborted()
}
