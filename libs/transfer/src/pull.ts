import type { ImageStore, OCIRegistry } from '@flotilla/api/containerd/types/transfer/transfer'
import { readBlob } from '@flotilla/content-client'
import { type Descriptor, kindOf, refOf } from '@flotilla/oci'
import { maxManifestSize, type Repository, sourceLabels } from '@flotilla/registry'
import { type Call, hasCode, invalidArgument, notFound, RpcError, status, withCall } from '@flotilla/rpc'
import { labels } from './content-labels.ts'
import type { TransferDeps } from './deps.ts'
import { toWire } from './descriptor.ts'
import { namesOf } from './image-names.ts'
import { ingest } from './ingest.ts'
import { underLease } from './lease.ts'
import { type Progress, Tracker } from './progress.ts'
import { repositoryOf } from './registry-access.ts'
import { saveImage } from './save-image.ts'
import { childLabels, childrenIn, selected } from './tree.ts'
import { downloadsOnDemand, unpackImage } from './unpack-images.ts'

const legacyManifest = 'application/vnd.docker.distribution.manifest.v1+prettyjws'

/** Connections that share one large blob. */
const ranges = 2

/** Bytes of a layer from which on it is unpacked while it comes; what is smaller is there as soon as that has begun. */
const worthFollowing = 4 * 1024 * 1024

/** Fetches an image from a registry, unpacks it and gives it its names. */
export async function pull(
  deps: TransferDeps,
  source: OCIRegistry,
  store: ImageStore,
  progress: Progress,
  call: Call,
): Promise<void> {
  const from = `OCI Registry (${source.reference})`
  await underLease(deps, call, async (leased) => {
    progress.report(`Resolving from ${from}`)
    await using repository = repositoryOf(deps, source, leased)
    const target: Descriptor = await resolve(repository, leased)
    progress.report(`Pulling from ${from}`)
    progress.report('fetching image content', { name: source.reference, desc: toWire(target) })
    await fetchImage({ deps, repository, store, progress, name: source.reference }, target, leased)
    const names = namesOf(store, target)
    if (names.length === 0) throw notFound('no image name found')
    for (const name of names) {
      await saveImage(deps, name, toWire(target), store.labels, leased)
      progress.report('saved', { name, desc: toWire(target) })
    }
    progress.conclude(`Completed pull from ${from}`)
  })
}

async function resolve(repository: Repository, call: Call): Promise<Descriptor> {
  try {
    const { mediaType, digest, size } = await repository.resolve(call.signal)
    if (mediaType === legacyManifest) throw invalidArgument('schema 1 image manifests are no longer supported')
    return { mediaType, digest, size }
  } catch (error) {
    if (!(error instanceof RpcError)) throw error
    throw new RpcError(error.code, `failed to resolve image: ${error.message}`, { cause: error })
  }
}

interface Fetching {
  readonly deps: TransferDeps
  readonly repository: Repository
  readonly store: ImageStore
  readonly progress: Progress
  /** Under which progress is shown. */
  readonly name: string
}

/** A blob on its way. */
interface Fetch {
  /** Resolves when it is in content. */
  readonly ready: Promise<void>
  /** Resolves to the ingest that its bytes come to, once the first have; to undefined when it is ready before. */
  readonly arriving: Promise<string | undefined>
}

/** Brings what a store wants of an image into content, all of it at once, and unpacks it while it comes. */
async function fetchImage(fetching: Fetching, target: Descriptor, call: Call): Promise<void> {
  const { deps, progress, repository, store } = fetching
  using tracker = new Tracker(progress, fetching.name, 'downloading')
  const failed = new AbortController()
  const signal = AbortSignal.any([call.signal, failed.signal])
  const during = withCall(call, { signal })
  const blobs = new Map<string, Fetch>()
  const running: Promise<void>[] = []
  const begin = (work: Promise<void>) => {
    work.catch((error: unknown) => failed.abort(error))
    running.push(work)
    return work
  }

  /** A blob, once for each image however often it is named. */
  const fetchOnce = (descriptor: Descriptor): Fetch => {
    const known = blobs.get(descriptor.digest)
    if (known !== undefined) return known
    tracker.add(descriptor)
    const arriving = Promise.withResolvers<string | undefined>()
    const moved = (offset: number) => {
      tracker.moved(descriptor, offset)
      if (descriptor.size >= worthFollowing) arriving.resolve(refOf(descriptor))
    }
    const ready = begin(fetchBlob(deps, repository, descriptor, tracker, moved, during))
    void ready.finally(() => arriving.resolve(undefined)).catch(() => {})
    const fetch = { ready, arriving: arriving.promise }
    blobs.set(descriptor.digest, fetch)
    return fetch
  }
  const coming = {
    ready: (child: Descriptor) => fetchOnce(child).ready,
    arriving: (child: Descriptor) => fetchOnce(child).arriving,
  }

  const onDemand = await downloadsOnDemand(deps, store, call)

  const fetchTree = async (descriptor: Descriptor): Promise<void> => {
    const kind = kindOf(descriptor)
    await fetchOnce(descriptor).ready
    if (kind !== 'manifest' && kind !== 'index') return
    const bytes = await readBlob(deps.content, descriptor.digest, maxManifestSize, during)
    const children = childrenIn(bytes, descriptor)
    await labels(deps, descriptor.digest, childLabels(children), during)
    const wanted = selected(descriptor, children, store)
    tracker.children(descriptor, wanted)
    const later = onDemand && kind === 'manifest' ? wanted.filter((child) => kindOf(child) === 'layer') : []
    for (const child of wanted)
      if (!later.includes(child)) begin(kind === 'index' ? fetchTree(child) : fetchOnce(child).ready)
    const unpacking = { manifest: descriptor, children: wanted, reference: fetching.name }
    if (kind === 'manifest') begin(unpackImage(deps, store, unpacking, coming, tracker, during))
  }

  begin(fetchTree(target))
  // Work begins more work; nothing may go on when this returns.
  for (let done = 0; done < running.length; ) {
    const batch = running.slice(done)
    await Promise.allSettled(batch)
    done += batch.length
  }
  call.signal.throwIfAborted()
  if (failed.signal.aborted) throw failed.signal.reason
}

async function fetchBlob(
  deps: TransferDeps,
  repository: Repository,
  descriptor: Descriptor,
  tracker: Tracker,
  moved: (offset: number) => void,
  call: Call,
): Promise<void> {
  // Whoever asks for the same blob meanwhile finds it there afterwards.
  using _ = await deps.turns.take(descriptor.digest, call.signal)
  const { existed } = await ingest(
    deps,
    {
      ref: refOf(descriptor),
      size: descriptor.size,
      digest: descriptor.digest,
      labels: sourceLabels(repository.reference),
      open: (offset, signal) => repository.fetch(descriptor, { offset, ranges, signal }),
      moved,
    },
    call,
  )
  if (existed) await addSource(deps, repository, descriptor, call)
  tracker.ended(descriptor, existed ? 'already exists' : 'complete')
}

/** Notes that this repository has the blob too. */
async function addSource(deps: TransferDeps, { reference }: Repository, { digest }: Descriptor, call: Call) {
  const { info } = await deps.content.info({ digest }, call)
  const wanted = sourceLabels(reference, info?.labels ?? {})
  await labels(deps, digest, wanted, call).catch((error: unknown) => {
    if (!hasCode(error, status.INVALID_ARGUMENT)) throw error
    // More repositories than a label can name; the others will do.
    deps.logger.debug({ err: error, digest }, 'the source of a blob is not noted')
  })
}
