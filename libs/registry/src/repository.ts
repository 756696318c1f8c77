import { type Descriptor, isDigest, isManifestType } from '@flotilla/oci'
import { failedPrecondition, invalidArgument, notFound } from '@flotilla/rpc'
import type { Slots } from '@flotilla/turns'
import { maxManifestSize } from './descriptor.ts'
import { type Download, readSpan } from './download.ts'
import type { Endpoint, RetryOptions } from './endpoint.ts'
import type { Capability } from './host.ts'
import { partSize, readInParts } from './parallel-download.ts'
import { isThere, pushBlob, pushManifest } from './push.ts'
import type { Push } from './push-request.ts'
import type { Reference } from './reference.ts'
import { resolve } from './resolve.ts'

export interface FetchOptions {
  /** Where to begin, bytes; 0 unless given. */
  readonly offset?: number
  /** How many requests at most may share a large blob; 1 unless given. Each takes a slot of the client's. */
  readonly ranges?: number
  readonly signal?: AbortSignal | undefined
}

export interface PushOptions {
  /** Other repositories of the same host that have the blob, best first (see `mountSources`). */
  readonly mountFrom?: readonly string[]
  /** For a manifest: the tag to name it by, besides its digest. */
  readonly tag?: string | undefined
  /** Hears how many bytes the registry has taken so far; a push that starts over tells so by a smaller number. */
  readonly onProgress?: ((sent: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/** What became of a push: bytes were sent, they were taken from another repository, or they were there. */
export type PushResult = 'pushed' | 'mounted' | 'exists'

/**
 * One repository, through all hosts that are configured for its registry. It belongs to one caller: the credentials and
 * tokens that it comes by stay with it. All errors are RpcErrors; a signal's own reason is thrown as it is.
 */
export interface Repository {
  readonly reference: Reference
  /**
   * What the reference names.
   *
   * @throws NOT_FOUND when no host knows it, or it is larger than a manifest may be
   */
  resolve(signal?: AbortSignal): Promise<Descriptor>
  /**
   * The content from `offset` to its end: always those bytes, in order, whatever a host makes of ranges; broken
   * connections are taken up again. It is exactly as long as the descriptor says, or it throws. The digest is not
   * checked: whoever stores the bytes hashes them. Leaving the loop early closes the connection and frees the slot.
   *
   * @throws NOT_FOUND when no host has it; FAILED_PRECONDITION or DATA_LOSS when it is of another size; UNAVAILABLE or
   * DEADLINE_EXCEEDED when hosts fail or stall again and again
   */
  fetch(descriptor: Descriptor, options?: FetchOptions): AsyncIterable<Uint8Array>
  /** Whether the host that is pushed to has it. */
  has(descriptor: Descriptor, signal?: AbortSignal): Promise<boolean>
  /**
   * Brings content to the registry. `open` gives its bytes from an offset on, and may be called again.
   *
   * @throws UNKNOWN when the registry refuses, as containerd answers
   */
  push(
    descriptor: Descriptor,
    open: (offset: number) => AsyncIterable<Uint8Array>,
    options?: PushOptions,
  ): Promise<PushResult>
}

export interface RepositoryDeps {
  readonly reference: Reference
  /** Made at the first request. */
  readonly endpoints: () => Promise<readonly Endpoint[]>
  readonly slots: Slots
  readonly retry: RetryOptions
}

export function createRepository(deps: RepositoryDeps): Repository {
  const { reference, slots, retry } = deps
  const pull = [`repository:${reference.repository}:pull`]

  async function endpointsFor(capability: Capability): Promise<[Endpoint, ...Endpoint[]]> {
    const [first, ...more] = (await deps.endpoints()).filter(({ host }) => host.capabilities.has(capability))
    if (first === undefined) throw notFound(`no ${capability} hosts for ${reference.host}`)
    return [first, ...more]
  }

  return {
    reference,
    async resolve(signal) {
      const endpoints = await endpointsFor(reference.digest === undefined ? 'resolve' : 'pull')
      return resolve(reference, endpoints, pull, signal)
    },
    async *fetch(descriptor, { offset = 0, ranges = 1, signal } = {}) {
      requireDescriptor(descriptor)
      const { size } = descriptor
      if (offset >= size) return
      const manifest = isManifestType(descriptor.mediaType)
      if (manifest && size > maxManifestSize)
        throw failedPrecondition(`rejecting ${size} byte manifest ${descriptor.digest}`)
      const endpoints = await endpointsFor('pull')
      const download: Download = { descriptor, endpoints, scopes: pull, retry, signal }
      // Manifests are small and everything waits for them.
      const release = manifest ? undefined : await slots.take(signal)
      try {
        if (ranges > 1 && size - offset > 2 * partSize) yield* readInParts(download, offset, ranges, slots)
        else yield* readSpan(download, offset, size)
      } finally {
        release?.()
      }
    },
    async has(descriptor, signal) {
      requireDescriptor(descriptor)
      const [endpoint] = await endpointsFor('push')
      const home = isManifestType(descriptor.mediaType) ? 'manifests' : 'blobs'
      return isThere(endpoint, `${home}/${descriptor.digest}`, descriptor, pull, signal)
    },
    async push(descriptor, open, options = {}) {
      requireDescriptor(descriptor)
      const [endpoint] = await endpointsFor('push')
      const push: Push = { endpoint, repository: reference.repository, retry, descriptor, open, ...options }
      return isManifestType(descriptor.mediaType) ? pushManifest(push) : pushBlob(push)
    },
  }
}

function requireDescriptor({ digest, size }: Descriptor): void {
  if (!isDigest(digest)) throw invalidArgument(`invalid digest ${JSON.stringify(digest)}`)
  if (!Number.isSafeInteger(size) || size < 0) throw invalidArgument(`invalid size ${size} of ${digest}`)
}
