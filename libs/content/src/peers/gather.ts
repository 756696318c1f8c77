import { setTimeout as sleep } from 'node:timers/promises'
import { arrivingNodes, blobNodes, removeBlobNode } from '@flotilla/metadata'
import { hasCode, makeCall, status, toRpcError } from '@flotilla/rpc'
import type { Store } from '../store.ts'
import { hasBit, type PartialBlob } from './partial-blob.ts'
import type { Peers, Wanted } from './peers.ts'

/** Nodes that pieces come from at the same time. */
const atOnce = 4
/** Milliseconds without a byte after which a node counts as gone. */
const stall = 4_000
/** Milliseconds between two looks for nodes that have what is missing. */
const lookEvery = 300

export interface Gathered {
  /** Where pieces came from. */
  readonly used: readonly string[]
  /** Why pieces are missing. */
  readonly why: string
}

/**
 * Fills a partial blob from all who have pieces of it, until it is complete or there is nobody left.
 *
 * @param options.alone one source at a time; options.fromRegistry ask its registry when no node has it
 */
export async function gather(
  store: Store,
  wanted: Wanted,
  partial: PartialBlob,
  options: { readonly alone: boolean; readonly fromRegistry: boolean },
): Promise<Gathered> {
  const { peers } = store
  const used = new Set<string>()
  const failed = new Map<string, string>()
  const active = new Map<string, Promise<void>>()
  if (peers === undefined) return { used: [], why: 'this is a machine alone' }
  const limit = options.alone ? 1 : atOnce

  while (!partial.complete) {
    store.closing.throwIfAborted()
    const sources = await sourcesOf(store, peers, wanted.digest, failed)
    for (const { node, has } of sources) {
      if (active.size >= limit || !partial.hasFree) break
      if (failed.has(node) || active.has(node)) continue
      active.set(
        node,
        fromNode(store, peers, wanted, partial, node, has)
          .then(
            (pieces) => {
              if (pieces > 0) used.add(node)
            },
            (error: unknown) => {
              failed.set(node, toRpcError(error).message)
            },
          )
          .finally(() => active.delete(node)),
      )
    }
    if (active.size > 0) await Promise.race([...active.values(), sleep(lookEvery)])
    else if (sources.some(({ node }) => !failed.has(node))) await sleep(lookEvery, undefined, { signal: store.closing })
    else break
  }
  if (!partial.complete && failed.size > 0)
    store.logger?.warn(
      { digest: wanted.digest, failed: Object.fromEntries(failed) },
      'a blob could not be had from peers',
    )
  if (!partial.complete && options.fromRegistry) {
    try {
      if (await fromRegistry(store, peers, wanted, partial)) used.add('its registry')
      else failed.set('registry', 'nothing says where it came from')
    } catch (error) {
      failed.set('registry', toRpcError(error).message)
    }
  }
  const reasons = [...failed].map(([source, why]) => `${source}: ${why}`)
  return { used: [...used], why: reasons.length === 0 ? 'no node has it' : reasons.join('; ') }
}

interface Source {
  readonly node: string
  /** Which pieces it has. */
  readonly has: (piece: number) => boolean
}

/** Who has the blob, or parts of it, and answers; in an order that differs from node to node. */
async function sourcesOf(store: Store, peers: Peers, digest: string, failed: Map<string, string>): Promise<Source[]> {
  const [whole, arriving] = await Promise.all([
    blobNodes(store.metadata, digest),
    arrivingNodes(store.metadata, digest),
  ])
  const all = [...new Set([...whole, ...arriving])].filter((node) => node !== store.node)
  const found = await Promise.all(
    all.map(async (node): Promise<Source | undefined> => {
      if (failed.has(node)) return undefined
      if (!(await peers.isReady(node))) {
        failed.set(node, 'it is not ready')
        return undefined
      }
      try {
        const call = makeCall({ signal: store.closing, timeout: stall })
        const [state] = (await peers.blobs(node).stat({ digests: [digest] }, call)).blobs
        if (state?.whole) return { node, has: () => true }
        if (whole.includes(node)) await removeBlobNode(store.metadata, digest, node)
        if (state === undefined || state.pieces.length === 0) return undefined
        return { node, has: (piece) => hasBit(state.pieces, piece) }
      } catch (error) {
        failed.set(node, toRpcError(error).message)
        return undefined
      }
    }),
  )
  return found
    .filter((source) => source !== undefined)
    .map((source) => ({ source, key: Math.random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ source }) => source)
}

/** Pieces from one node, as long as it has some that are missing. Answers how many came. */
async function fromNode(
  store: Store,
  peers: Peers,
  { digest }: Wanted,
  partial: PartialBlob,
  node: string,
  has: (piece: number) => boolean,
): Promise<number> {
  for (let count = 0; ; count++) {
    const piece = partial.take(has)
    if (piece === undefined) return count
    const { offset, size } = partial.spanOf(piece)
    const silence = new AbortController()
    let timer = setTimeout(() => silence.abort(), stall)
    try {
      const call = makeCall({ signal: AbortSignal.any([store.closing, silence.signal]) })
      let at = 0
      for await (const { data } of peers.blobs(node).read({ digest, offset, size }, call)) {
        clearTimeout(timer)
        timer = setTimeout(() => silence.abort(), stall)
        if (at + data.length > size) throw new Error('it sent more than was asked for')
        await partial.write(data, offset + at)
        at += data.length
      }
      if (at !== size) throw new Error(`it sent ${at} of ${size} bytes`)
      await partial.mark(piece)
    } catch (error) {
      partial.giveBack(piece)
      // Of a blob that is arriving there, the piece was not there after all.
      if (hasCode(error, status.OUT_OF_RANGE)) return count
      throw silence.signal.aborted ? new Error('it fell silent', { cause: error }) : error
    } finally {
      clearTimeout(timer)
    }
  }
}

/** What is missing, from the registry, in order. False when nobody knows of one. */
async function fromRegistry(store: Store, peers: Peers, wanted: Wanted, partial: PartialBlob): Promise<boolean> {
  for (let piece = partial.take(() => true); piece !== undefined; ) {
    const start = partial.spanOf(piece).offset
    const stream = await peers.source(wanted, start, store.closing)
    if (stream === undefined) {
      partial.giveBack(piece)
      return false
    }
    // Random pieces are missing: each run of them is one request.
    let at = start
    try {
      for await (const data of stream) {
        await partial.write(data, at)
        at += data.length
        for (let span = partial.spanOf(piece); at >= span.offset + span.size; span = partial.spanOf(piece)) {
          await partial.mark(piece)
          const following: number = piece + 1
          piece = partial.take((one) => one === following)
          if (piece === undefined) break
        }
        if (piece === undefined) break
      }
    } finally {
      if (piece !== undefined) partial.giveBack(piece)
    }
    if (piece !== undefined) throw new Error(`its registry sent ${at - start} bytes, too few`)
    piece = partial.take(() => true)
  }
  return true
}
