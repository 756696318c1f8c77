import { setTimeout as sleep } from 'node:timers/promises'
import { arrivingNodes, blobNodes, removeBlobNode } from '@flotilla/metadata'
import { makeCall, toRpcError } from '@flotilla/rpc'
import type { Store } from '../store.ts'
import { Candidates } from './candidates.ts'
import { longestSilence, type Source, takePieces } from './from-node.ts'
import { hasBit, type PartialBlob } from './partial-blob.ts'
import type { Peers, Wanted } from './peers.ts'

/** Nodes that pieces come from at the same time. */
const atOnce = 4
/** Milliseconds between two looks for nodes that have what is missing, once one found somebody. */
const lookSoon = 300
/** The same after many that found nobody: looks of many nodes for many blobs must not be all that they do. */
const lookLate = 3_000

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

  let pause = lookSoon
  while (!partial.complete) {
    store.closing.throwIfAborted()
    const hasRoom = () => active.size < limit && partial.hasFree
    // Whoever is served by as many as may serve it asks nobody.
    const { sources, more } = hasRoom() ? await look(store, peers, wanted.digest, partial, candidates, active) : nobody
    const before = active.size
    for (const source of sources) {
      if (!hasRoom()) break
      const { has, node } = source
      // What it has may be coming from another by now.
      if (!partial.canTake(has)) continue
      const onPiece = () => {
        used.add(node)
        candidates.gave(node)
      }
      active.set(
        node,
        takePieces(store, peers, wanted, partial, source, onPiece)
          .catch((error: unknown) => candidates.failed(node, error))
          .finally(() => active.delete(node)),
      )
    }
    pause = active.size > before ? lookSoon : Math.min(pause * 1.5, lookLate)
    if (active.size > 0) await Promise.race([...active.values(), sleep(pause)])
    else if (more) await sleep(pause, undefined, { signal: store.closing })
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
  partial: PartialBlob,
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
        const call = makeCall({ signal: store.closing, timeout: longestSilence })
        const [state] = (await peers.blobs(node).stat({ digests: [digest] }, call)).blobs
        if (state?.whole) {
          candidates.isWhole(node)
          return { node, has: () => true }
        }
        if (whole.includes(node)) await removeBlobNode(store.metadata, digest, node)
        const pieces = state?.pieces ?? Buffer.alloc(0)
        const has = (piece: number) => hasBit(pieces, piece)
        const useful = partial.canTake(has)
        candidates.isArriving(node, pieces, useful)
        return useful ? { node, has } : undefined
      } catch (error) {
        candidates.failed(node, error)
        return undefined
      }
    }),
  )
  return { sources: sources.filter((source) => source !== undefined), more: candidates.leaveHope(all) }
}

/** What is missing, from the registry, in order. False when nobody knows of one. */
async function fromRegistry(store: Store, peers: Peers, wanted: Wanted, partial: PartialBlob): Promise<boolean> {
  for (let piece = partial.take(() => true); piece !== undefined; ) {
    const start = partial.missingOf(piece).offset
    const stream = await peers.source(wanted, start, store.closing)
    if (stream === undefined) {
      partial.giveBack(piece, 0)
      return false
    }
    // Random pieces are missing: each run of them is one request.
    let at = start
    try {
      for await (const data of stream) {
        await partial.write(data, at)
        at += data.length
        while (at >= partial.endOf(piece)) {
          await partial.mark(piece)
          const following: number = piece + 1
          piece = partial.take((one) => one === following)
          if (piece === undefined) break
        }
        if (piece === undefined) break
      }
    } finally {
      if (piece !== undefined) partial.giveBack(piece, Math.max(0, at - partial.missingOf(piece).offset))
    }
    if (piece !== undefined) throw new Error(`its registry sent ${at - start} bytes, too few`)
    piece = partial.take(() => true)
  }
  return true
}
