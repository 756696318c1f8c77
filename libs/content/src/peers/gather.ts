import { setTimeout as sleep } from 'node:timers/promises'
import { arrivingNodes, blobNodes, removeBlobNode } from '@flotilla/metadata'
import { hasCode, makeCall, status, toRpcError } from '@flotilla/rpc'
import type { Store } from '../store.ts'
import { Candidates } from './candidates.ts'
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
  const candidates = new Candidates()
  const active = new Map<string, Promise<void>>()
  if (peers === undefined) return { used: [], why: 'this is a machine alone' }
  const limit = options.alone ? 1 : atOnce

  while (!partial.complete) {
    store.closing.throwIfAborted()
    const hasRoom = () => active.size < limit && partial.hasFree
    // Whoever is served by as many as may serve it asks nobody.
    const { sources, more } = hasRoom() ? await look(store, peers, wanted.digest, candidates, active) : nobody
    for (const { node, has } of sources) {
      if (!hasRoom()) break
      // One that is only getting the blob may have nothing yet that is missing here.
      if (!partial.canTake(has)) continue
      active.set(
        node,
        fromNode(store, peers, wanted, partial, node, has)
          .then(
            (pieces) => {
              if (pieces > 0) used.add(node)
            },
            (error: unknown) => candidates.failed(node, error),
          )
          .finally(() => active.delete(node)),
      )
    }
    if (active.size > 0) await Promise.race([...active.values(), sleep(lookEvery)])
    else if (more || sources.length > 0) await sleep(lookEvery, undefined, { signal: store.closing })
    else break
  }
  const reasons = candidates.failures()
  if (!partial.complete && reasons.length > 0)
    store.logger?.warn({ digest: wanted.digest, failed: reasons }, 'a blob could not be had from peers')
  if (!partial.complete && options.fromRegistry) {
    try {
      if (await fromRegistry(store, peers, wanted, partial)) used.add('its registry')
      else reasons.push('registry: nothing says where it came from')
    } catch (error) {
      reasons.push(`registry: ${toRpcError(error).message}`)
    }
  }
  return { used: [...used], why: reasons.length === 0 ? 'no node has it' : reasons.join('; ') }
}

interface Source {
  readonly node: string
  /** Which pieces it has. */
  readonly has: (piece: number) => boolean
}

interface Found {
  readonly sources: readonly Source[]
  /** Whether another look may find somebody. */
  readonly more: boolean
}

const nobody: Found = { sources: [], more: true }

/** Who has the blob, or parts of it, and answers: some of them, but for those that give pieces already. */
async function look(
  store: Store,
  peers: Peers,
  digest: string,
  candidates: Candidates,
  active: ReadonlyMap<string, unknown>,
): Promise<Found> {
  const [whole, arriving] = await Promise.all([
    blobNodes(store.metadata, digest),
    arrivingNodes(store.metadata, digest),
  ])
  const all = [...new Set([...whole, ...arriving])].filter((node) => node !== store.node)
  const sources = await Promise.all(
    candidates.choose(all.filter((node) => !active.has(node))).map(async (node): Promise<Source | undefined> => {
      if (!(await peers.isReady(node))) {
        candidates.ruleOut(node, 'it is not ready')
        return undefined
      }
      try {
        const call = makeCall({ signal: store.closing, timeout: stall })
        const [state] = (await peers.blobs(node).stat({ digests: [digest] }, call)).blobs
        if (state?.whole) return { node, has: () => true }
        if (whole.includes(node)) await removeBlobNode(store.metadata, digest, node)
        const pieces = state?.pieces ?? Buffer.alloc(0)
        candidates.answered(node, pieces.length > 0)
        return pieces.length > 0 ? { node, has: (piece) => hasBit(pieces, piece) } : undefined
      } catch (error) {
        candidates.failed(node, error)
        return undefined
      }
    }),
  )
  return { sources: sources.filter((source) => source !== undefined), more: candidates.leaveHope(all) }
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
