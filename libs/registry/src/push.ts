import type { Descriptor } from '@flotilla/oci'
import { failedPrecondition } from '@flotilla/rpc'
import { statusError } from './answer.ts'
import { Denied } from './authorizer.ts'
import { maxManifestSize } from './descriptor.ts'
import type { Endpoint } from './endpoint.ts'
import { isTaken, locationOf, type Push, pushScopes } from './push-request.ts'
import type { HttpAnswer } from './transport.ts'
import { upload } from './upload.ts'

/** Whether the host has this content at a path; the digest that it names counts when it names one. */
export async function isThere(
  endpoint: Endpoint,
  path: string,
  { mediaType, digest }: Descriptor,
  scopes: readonly string[],
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const headers = { accept: `${mediaType}, */*` }
  const answer = await endpoint.request({ method: 'HEAD', path, headers, scopes, retry: 'failures', signal })
  if (answer.status !== 200 && answer.status !== 404) throw await statusError('HEAD', answer)
  answer.discard()
  return answer.status === 200 && (answer.headers['docker-content-digest'] ?? digest) === digest
}

/** A question that some registries refuse to those who may only push; then the push itself will tell. */
async function mayBeThere({ endpoint, repository, descriptor, signal }: Push, path: string): Promise<boolean> {
  try {
    return await isThere(endpoint, path, descriptor, pushScopes(repository), signal)
  } catch (error) {
    if (error instanceof Denied) return false
    throw error
  }
}

export async function pushManifest(push: Push): Promise<'pushed' | 'exists'> {
  const { endpoint, repository, descriptor, tag, signal } = push
  if (descriptor.size > maxManifestSize)
    throw failedPrecondition(`rejecting ${descriptor.size} byte manifest ${descriptor.digest}`)
  const path = `manifests/${tag ?? descriptor.digest}`
  if (await mayBeThere(push, path)) return 'exists'

  const bytes = Buffer.concat(await Array.fromAsync(push.open(0)))
  const answer = await endpoint.request({
    method: 'PUT',
    path,
    headers: { 'content-type': descriptor.mediaType, 'content-length': String(bytes.length) },
    body: async function* () {
      yield bytes
    },
    scopes: pushScopes(repository),
    retry: 'failures',
    signal,
  })
  await requireTaken(answer, descriptor)
  push.onProgress?.(bytes.length)
  return 'pushed'
}

export async function pushBlob(push: Push): Promise<'pushed' | 'mounted' | 'exists'> {
  const { descriptor } = push
  if (await mayBeThere(push, `blobs/${descriptor.digest}`)) return 'exists'
  const mounted = await mount(push)
  if (mounted === 'mounted') return 'mounted'
  const last = await upload(push, mounted ?? (await begin(push)), () => begin(push))
  await requireTaken(last, descriptor)
  return 'pushed'
}

/** Where the bytes of a new upload go. */
async function begin({ endpoint, repository, signal }: Push): Promise<URL> {
  const answer = await endpoint.request({
    method: 'POST',
    path: 'blobs/uploads/',
    headers: { 'content-length': '0' },
    scopes: pushScopes(repository),
    retry: 'failures',
    signal,
  })
  if (!isTaken(answer)) throw await statusError('POST', answer)
  answer.discard()
  return locationOf(answer)
}

/**
 * Asks for the blob from the other repositories that have it. A registry that will not mount begins an upload instead,
 * whose address is then given; one that forbids us the other repository leaves us with nothing.
 */
async function mount({
  endpoint,
  repository,
  descriptor,
  mountFrom = [],
  signal,
}: Push): Promise<URL | 'mounted' | undefined> {
  for (const from of mountFrom) {
    let answer: HttpAnswer
    try {
      answer = await endpoint.request({
        method: 'POST',
        path: 'blobs/uploads/',
        query: { mount: descriptor.digest, from },
        headers: { 'content-length': '0' },
        scopes: pushScopes(repository, from),
        retry: 'failures',
        signal,
      })
    } catch (error) {
      if (error instanceof Denied) continue
      throw error
    }
    answer.discard()
    if (answer.status === 201) return 'mounted'
    if (isTaken(answer)) return locationOf(answer)
  }
  return undefined
}

async function requireTaken(answer: HttpAnswer, { digest }: Descriptor): Promise<void> {
  if (!isTaken(answer)) throw await statusError('PUT', answer)
  answer.discard()
  const got = answer.headers['docker-content-digest'] ?? digest
  if (got !== digest) throw failedPrecondition(`${answer.url.host} took ${got} for ${digest}`)
}
