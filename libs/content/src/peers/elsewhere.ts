import { Ingest } from '@flotilla/api/flotilla/metadata/v1/records'
import { refLocked } from '@flotilla/content-client'
import { addArriving, tables } from '@flotilla/metadata'
import { type Call, hasCode, status, unavailable, withCall } from '@flotilla/rpc'
import type { Opening } from '../opening.ts'
import type { Store } from '../store.ts'
import { prefetch } from './bring.ts'

/** Milliseconds for a node to say whether an ingest is being written there. */
const patience = 2_500

/**
 * One writer for each ingest in the cluster, as there is one on a node: so that whoever pulls the same blob at the same
 * moment waits, and then finds it there. Meanwhile this node begins to share in what has come.
 *
 * @returns the ingest's record as it was looked at: who opens the ingest writes the record if it still is that
 * @throws UNAVAILABLE while another node's client writes it
 */
export async function unlessWrittenElsewhere(store: Store, opening: Opening, call: Call): Promise<Buffer | undefined> {
  const { expected, namespace, ref, total } = opening
  const seen = await store.metadata.get(namespace, tables.ingests, ref)
  const { peers } = store
  if (peers === undefined) return seen
  const known = seen === undefined ? undefined : Ingest.decode(seen)
  if (known !== undefined && known.node !== store.node && (await peers.isReady(known.node))) {
    if (await isWriting(store, known.node, namespace, ref, call)) {
      if (expected !== undefined && total > 0) prefetch(store, expected, total)
      throw unavailable(`ref ${ref} locked by a writer on node "${known.node}"`, { reason: refLocked })
    }
  }
  if (expected !== undefined && total > 0) await addArriving(store.metadata, expected.text, store.node)
  return seen
}

async function isWriting({ peers }: Store, node: string, namespace: string, ref: string, call: Call): Promise<boolean> {
  const deadline = Math.min(call.deadline ?? Number.POSITIVE_INFINITY, Date.now() + patience)
  try {
    const answer = await peers?.local(node).writing({ ref }, withCall(call, { namespace, deadline }))
    return answer?.open === true
  } catch (error) {
    // One that does not answer writes nothing that anybody could wait for.
    if (hasCode(error, status.UNAVAILABLE) || hasCode(error, status.DEADLINE_EXCEEDED)) return false
    throw error
  }
}
