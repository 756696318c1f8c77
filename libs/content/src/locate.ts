import {
  type LocateIngestRequest,
  LocateIngestResponse,
  type LocateRequest,
  LocateResponse,
} from '@flotilla/api/flotilla/content/v1/content'
import { type Call, notFound, requireNamespace } from '@flotilla/rpc'
import { parseDigest } from './digest.ts'
import { bring } from './peers/bring.ts'
import { contentNotFound, contentRecord } from './records.ts'
import type { Store } from './store.ts'

/** LocalBlobs.Locate: the path of a blob that the namespace has; none where another program has its bytes. */
export async function locate(store: Store, request: LocateRequest, call: Call): Promise<LocateResponse> {
  const digest = parseDigest(request.digest)
  const record = await contentRecord(store, requireNamespace(call), digest)
  if (record === undefined) throw contentNotFound(digest)
  if (store.peers !== undefined) await bring(store, requireNamespace(call), record, call)
  const size = await store.bytes.size(digest)
  if (size === undefined) throw notFound(`content ${digest.text} has no bytes on node ${store.node}`)
  return LocateResponse.fromPartial({ path: store.bytes.file(digest) ?? '', size })
}

/** LocalBlobs.LocateIngest: the path of the file that a client writes at this moment. */
export async function locateIngest(
  store: Store,
  { ref }: LocateIngestRequest,
  call: Call,
): Promise<LocateIngestResponse> {
  const namespace = requireNamespace(call)
  const session = store.writers.session(namespace, ref)
  const path = session === undefined || session.adopts ? undefined : store.bytes.ingestFile({ namespace, ref })
  if (path === undefined) throw notFound(`ingest ${ref} is not written on node ${store.node}`)
  return LocateIngestResponse.fromPartial({ path })
}
