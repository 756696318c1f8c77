import { createHash } from 'node:crypto'
import { type Descriptor, isDigest } from '@flotilla/oci'
import { invalidArgument, notFound, unavailable } from '@flotilla/rpc'
import { readWhole, statusError } from './answer.ts'
import { acceptManifests, maxManifestSize } from './descriptor.ts'
import type { Endpoint } from './endpoint.ts'
import type { Reference } from './reference.ts'
import type { HttpAnswer } from './transport.ts'

/** Asks hosts in order what a reference names; the answer that came nearest to one is the error. */
export async function resolve(
  reference: Reference,
  endpoints: readonly Endpoint[],
  scopes: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Descriptor> {
  const name = reference.digest ?? reference.tag
  if (name === undefined) throw invalidArgument(`${reference.text}: object required`)
  // Content by digest may be no manifest.
  const homes = reference.digest === undefined ? ['manifests'] : ['manifests', 'blobs']
  let first: unknown
  for (const home of homes) {
    for (const endpoint of endpoints) {
      const retry = endpoint === endpoints.at(-1) ? 'failures' : 'waits'
      const ask = (method: string) =>
        endpoint.request({
          method,
          path: `${home}/${name}`,
          headers: { accept: acceptManifests },
          scopes,
          retry,
          signal,
        })
      try {
        const answer = await ask('HEAD')
        const described = answer.status === 200 ? describe(answer, reference.digest) : undefined
        answer.discard()
        if (described !== undefined) return checked(described, reference)
        if (answer.status === 404) {
          first ??= notFound(reference.text)
          continue
        }
        // What HEAD does not say, or is not allowed to, GET does; and a refusal has a reason only there.
        const whole = await ask('GET')
        if (whole.status !== 200) throw await statusError('GET', whole)
        return checked(await measure(whole, reference), reference)
      } catch (error) {
        if (signal?.aborted) throw error
        first ??= error
      }
    }
  }
  throw first ?? notFound(`no host to resolve ${reference.text} with`)
}

function mediaTypeOf(answer: HttpAnswer): string {
  return (answer.headers['content-type'] ?? '').split(';')[0]?.trim() ?? ''
}

/** What the headers say, if they say enough. */
function describe(answer: HttpAnswer, known: string | undefined): Descriptor | undefined {
  const digest = known ?? answer.headers['docker-content-digest']
  const size = answer.headers['content-length']
  if (typeof digest !== 'string' || size === undefined) return undefined
  if (!isDigest(digest)) throw unavailable(`${answer.url.host} names no digest: ${JSON.stringify(digest)}`)
  return { mediaType: mediaTypeOf(answer), digest, size: Number(size) }
}

async function measure(answer: HttpAnswer, reference: Reference): Promise<Descriptor> {
  const body = await readWhole(answer, maxManifestSize)
  const algorithm = reference.digest?.split(':')[0] ?? 'sha256'
  const digest = `${algorithm}:${createHash(algorithm).update(body).digest('hex')}`
  if (reference.digest !== undefined && reference.digest !== digest)
    throw unavailable(`${answer.url.host} sends ${digest} as ${reference.digest}`)
  return { mediaType: mediaTypeOf(answer), digest, size: body.length }
}

function checked(descriptor: Descriptor, reference: Reference): Descriptor {
  if (descriptor.size > maxManifestSize)
    throw notFound(`rejecting ${descriptor.size} byte manifest for ${reference.text}`)
  return descriptor
}
