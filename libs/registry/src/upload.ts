import { setTimeout as sleep } from 'node:timers/promises'
import { failedPrecondition, hasCode, status, unavailable } from '@flotilla/rpc'
import { statusError } from './answer.ts'
import { isTaken, locationOf, type Push, pushScopes } from './push-request.ts'
import type { HttpAnswer } from './transport.ts'

/**
 * Sends a blob's bytes: all in one request and, when that breaks, the rest in another, from where the registry says
 * that it is. Gives the answer of the request that finished the upload.
 */
export async function upload(push: Push, first: URL, beginAnew: () => Promise<URL>): Promise<HttpAnswer> {
  const { descriptor, retry, signal } = push
  const { size } = descriptor
  let location = first
  let offset = 0
  for (let failures = 0; ; ) {
    const source = watched(push, offset)
    let failure: unknown
    try {
      if (offset > 0 && offset < size) {
        location = await append(push, location, source.read, offset)
        offset = size
      }
      const last = await (offset === 0 ? finish(push, location, source.read, size) : finish(push, location, none, 0))
      if (last.status < 500) return last
      failure = await statusError('PUT', last)
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      if (source.failure !== undefined) throw source.failure
      // Networks and servers that fail; a refusal stays one.
      if (!hasCode(error, status.UNAVAILABLE) && !hasCode(error, status.DEADLINE_EXCEEDED)) throw error
      failure = error
    }
    failures += 1
    if (failures >= retry.attempts) throw failure
    await sleep(retry.delay * 2 ** (failures - 1), undefined, signal ? { signal } : {})

    const held = await progressOf(push, location)
    if (held !== undefined && held.offset > offset) failures = 1
    offset = held?.offset ?? 0
    location = held?.location ?? (await beginAnew())
    push.onProgress?.(offset)
  }
}

const none = async function* (): AsyncGenerator<Uint8Array> {}

/** Our own bytes from an offset on: counted, and with the failures that are ours told from the registry's. */
function watched(push: Push, offset: number) {
  const source = {
    failure: undefined as unknown,
    read: async function* (): AsyncGenerator<Uint8Array> {
      let sent = offset
      try {
        for await (const bytes of push.open(offset)) {
          yield bytes
          sent += bytes.length
          push.onProgress?.(sent)
        }
        if (sent !== push.descriptor.size)
          throw failedPrecondition(`${push.descriptor.digest} is ${sent} bytes here, not ${push.descriptor.size}`)
      } catch (error) {
        source.failure = error
        throw error
      }
    },
  }
  return source
}

function finish(push: Push, location: URL, body: () => AsyncIterable<Uint8Array>, size: number): Promise<HttpAnswer> {
  return push.endpoint.request({
    method: 'PUT',
    path: location,
    query: { digest: push.descriptor.digest },
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(size) },
    body,
    scopes: pushScopes(push.repository),
    retry: 'nothing',
    signal: push.signal,
  })
}

/** Sends the rest; gives where the upload goes on. */
async function append(push: Push, location: URL, body: () => AsyncIterable<Uint8Array>, offset: number): Promise<URL> {
  const { size } = push.descriptor
  const answer = await push.endpoint.request({
    method: 'PATCH',
    path: location,
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': String(size - offset),
      'content-range': `${offset}-${size - 1}`,
    },
    body,
    scopes: pushScopes(push.repository),
    retry: 'nothing',
    signal: push.signal,
  })
  if (!isTaken(answer)) throw await statusError('PATCH', answer)
  answer.discard()
  return locationOf(answer)
}

/** How far an upload has come; undefined when the registry has dropped it. */
async function progressOf({ endpoint, repository, descriptor, signal }: Push, location: URL) {
  const scopes = pushScopes(repository)
  const answer = await endpoint.request({ method: 'GET', path: location, scopes, retry: 'failures', signal })
  answer.discard()
  // A registry that cannot say (Basic registries answer 404, 405, 416) gets the whole again.
  if (answer.status !== 204 && answer.status !== 200 && answer.status !== 202) return undefined
  const match = /^(?:bytes=)?0-(\d+)$/.exec(answer.headers.range ?? '')
  const offset = match === null ? 0 : Number(match[1]) + 1
  if (offset > descriptor.size) throw unavailable(`${answer.url.host} has more than was sent of ${descriptor.digest}`)
  // One byte and none look the same, 0-0: then from the beginning, in an upload of its own.
  if (offset <= 1) return undefined
  return { offset, location: answer.headers.location === undefined ? location : locationOf(answer) }
}
