import { setTimeout as sleep } from 'node:timers/promises'
import { type Descriptor, isManifestType } from '@flotilla/oci'
import { dataLoss, failedPrecondition, notFound, RpcError, unavailable } from '@flotilla/rpc'
import { statusError } from './answer.ts'
import { type Endpoint, isTransient, type RetryOptions } from './endpoint.ts'
import type { HttpAnswer } from './transport.ts'

/** One piece of content, and where it can be had. */
export interface Download {
  readonly descriptor: Descriptor
  /** Asked in order. */
  readonly endpoints: readonly Endpoint[]
  readonly scopes: readonly string[]
  readonly retry: RetryOptions
  readonly signal: AbortSignal | undefined
}

/** A host gave the whole where a part was wanted. */
export class RangesRefused extends Error {}

/** From so many bytes on, a connection of their own pays. */
const bulky = 1024 * 1024

/** So many bytes make good for a failure: a connection that breaks now and then is no broken registry. */
const progress = 1024 * 1024

/**
 * The bytes from `start` up to `end`, in order. A connection that breaks, stalls or ends early is taken up where it
 * left off, here or at the next host.
 *
 * @throws RangesRefused when a part of the whole is wanted from a host that gives no parts
 */
export async function* readSpan(download: Download, start: number, end: number): AsyncGenerator<Uint8Array> {
  const { descriptor, retry, signal } = download
  const open = opener(download)
  let position = start
  let failures = 0
  while (position < end) {
    const before = position
    let failure: unknown
    const { answer, at } = await open(position, end)
    try {
      let skip = position - at
      for await (let bytes of answer.body) {
        if (skip > 0) {
          const gone = Math.min(skip, bytes.length)
          skip -= gone
          if (gone === bytes.length) continue
          bytes = bytes.subarray(gone)
        }
        if (position + bytes.length > end) {
          if (end === descriptor.size) throw tooLong(answer, descriptor)
          bytes = bytes.subarray(0, end - position)
        }
        position += bytes.length
        if (bytes.length > 0) yield bytes
        // Of a part nothing more is wanted; at the end of the whole its end is waited for, and the connection kept.
        if (position === end && end < descriptor.size) break
      }
      failure = new Error('unexpected EOF')
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      if (!isTransient(error)) throw error
      failure = error
    }
    if (position === end) return
    failures = position - before >= progress ? 1 : failures + 1
    if (failures >= retry.attempts) {
      if (failure instanceof RpcError) throw failure
      const why = failure instanceof Error ? failure.message : String(failure)
      throw unavailable(`${descriptor.digest} broke off at ${position} of ${descriptor.size} bytes: ${why}`)
    }
    await sleep(retry.delay * 2 ** (failures - 1), undefined, signal ? { signal } : {})
  }
}

interface Opened {
  readonly answer: HttpAnswer
  /** Where its body begins. */
  readonly at: number
}

function opener(download: Download): (position: number, end: number) => Promise<Opened> {
  const { descriptor, endpoints, scopes, signal } = download
  const { digest, size } = descriptor
  const homes = isManifestType(descriptor.mediaType) ? ['manifests', 'blobs'] : ['blobs', 'manifests']
  const withoutRanges = new Set<Endpoint>()

  async function ask(endpoint: Endpoint, home: string, position: number, end: number): Promise<Opened | HttpAnswer> {
    const part = end < size
    const ranged = (position > 0 || part) && !withoutRanges.has(endpoint)
    const answer = await endpoint.request({
      method: 'GET',
      path: `${home}/${digest}`,
      headers: {
        accept: `${descriptor.mediaType || 'application/octet-stream'}, */*`,
        ...(ranged ? { range: `bytes=${position}-${part ? end - 1 : ''}` } : {}),
      },
      bulk: end - position >= bulky,
      scopes,
      retry: endpoint === endpoints.at(-1) ? 'failures' : 'waits',
      signal,
    })
    if (answer.status === 200) {
      if (part) {
        answer.discard()
        throw new RangesRefused()
      }
      const length = answer.headers['content-length']
      if (length !== undefined && Number(length) !== size) {
        answer.discard()
        throw wrongSize(answer, descriptor, length)
      }
      return { answer, at: 0 }
    }
    const lied = answer.status === 206 && !isRange(answer.headers['content-range'], position, size)
    // A server that gives another part than the one asked for, or none, may still give the whole.
    if (lied || answer.status === 416) {
      answer.discard()
      if (!ranged) throw unavailable(`${answer.url.host} gives a part of ${digest} that was not asked for`)
      withoutRanges.add(endpoint)
      if (part) throw new RangesRefused()
      return ask(endpoint, home, position, end)
    }
    return answer.status === 206 ? { answer, at: position } : answer
  }

  return async (position, end) => {
    let first: unknown
    for (const endpoint of endpoints) {
      try {
        for (const home of homes) {
          const got = await ask(endpoint, home, position, end)
          if ('at' in got) return got
          const error = await statusError('GET', got)
          first ??= error
          if (got.status !== 404) break
        }
      } catch (error) {
        if (signal?.aborted || error instanceof RangesRefused) throw error
        first ??= error
      }
    }
    throw first ?? notFound(`no host to pull ${digest} from`)
  }
}

/** Whether a Content-Range begins where we asked, and speaks of content of our size. */
function isRange(header: string | undefined, position: number, size: number): boolean {
  const match = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(header ?? '')
  return match !== null && Number(match[1]) === position && (match[2] === '*' || Number(match[2]) === size)
}

function wrongSize(answer: HttpAnswer, descriptor: Descriptor, length: string): Error {
  const text = `${answer.url.host} has ${length} bytes as ${descriptor.digest}`
  return failedPrecondition(`${text}, its descriptor says ${descriptor.size}`)
}

function tooLong(answer: HttpAnswer, descriptor: Descriptor): Error {
  return dataLoss(`${answer.url.host} sends more than the ${descriptor.size} bytes of ${descriptor.digest}`)
}
