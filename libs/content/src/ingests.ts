import type {
  AbortRequest,
  ListStatusesRequest,
  Status,
  StatusRequest,
} from '@flotilla/api/containerd/services/content/v1/content'
import {
  ListStatusesResponse,
  Status as StatusMessage,
  StatusResponse,
} from '@flotilla/api/containerd/services/content/v1/content'
import { Ingest } from '@flotilla/api/flotilla/metadata/v1/records'
import { Empty } from '@flotilla/api/google/protobuf/empty'
import { ingestFields, parseFilters } from '@flotilla/filters'
import { tables } from '@flotilla/metadata'
import { type Call, notFound, requireNamespace } from '@flotilla/rpc'
import type { OpenIngest } from './open-ingest.ts'
import { ingestRecord, ingestResource, leaseOf } from './records.ts'
import type { Store } from './store.ts'
import { validateRef } from './write.ts'

const emptyRef = 'reference must not be empty'

export async function status(store: Store, request: StatusRequest, call: Call): Promise<StatusResponse> {
  validateRef(request.ref, emptyRef)
  const namespace = requireNamespace(call)
  const open = store.writers.session(namespace, request.ref)
  const found = isOrdinary(open)
    ? statusOfOpen(open)
    : await statusOfStored(store, namespace, request.ref, await ingestRecord(store, namespace, request.ref))
  if (found === undefined) throw notFound(`could not get status for ref "${request.ref}": reference ${request.ref}`)
  return StatusResponse.fromPartial({ status: found })
}

export async function listStatuses(
  store: Store,
  request: ListStatusesRequest,
  call: Call,
): Promise<ListStatusesResponse> {
  const matcher = parseFilters(request.filters)
  const namespace = requireNamespace(call)
  const records = new Map<string, Ingest | undefined>()
  for (const [ref, bytes] of await store.metadata.all(namespace, tables.ingests)) records.set(ref, Ingest.decode(bytes))
  // An open ingest is there even when the garbage collector has taken its record.
  for (const open of store.writers.sessions(namespace)) if (!records.has(open.ref)) records.set(open.ref, undefined)
  const matching = [...records].filter(([ref]) => matcher.matches(ingestFields({ ref })))
  const statuses = await Promise.all(
    matching.map(([ref, record]) => {
      const open = store.writers.session(namespace, ref)
      return isOrdinary(open) ? statusOfOpen(open) : statusOfStored(store, namespace, ref, record)
    }),
  )
  return ListStatusesResponse.fromPartial({ statuses: statuses.filter((found) => found !== undefined) })
}

/** Content.Abort: the ingest goes, also under the hands of its writer, whose next message then fails. */
export async function abort(store: Store, request: AbortRequest, call: Call): Promise<Empty> {
  const { ref } = request
  validateRef(ref, emptyRef)
  const namespace = requireNamespace(call)
  const removal = await store.writers.remove(namespace, ref)
  const work = async () => {
    const outcome = await store.metadata.transact(namespace, {
      checks: [{ is: 'present', table: tables.ingests, field: ref }],
      writes: [{ op: 'delete', table: tables.ingests, field: ref }],
      ...leaseOf(call, [], [ingestResource(ref)]),
    })
    if (!outcome.ok) throw notFound(`reference ${ref}`)
    await store.bytes.discard({ namespace, ref })
  }
  let done = false
  try {
    const record = await ingestRecord(store, namespace, ref)
    await (removal.session === undefined ? work() : removal.session.takeAway(work))
    if (record !== undefined) store.adoptions.remove(record.adopts, namespace, ref)
    done = true
  } finally {
    removal.release({ restore: !done })
  }
  return Empty.fromPartial({})
}

/** Whether it is an ingest with bytes of its own; one that adopts has no status. */
const isOrdinary = (open: OpenIngest | undefined): open is OpenIngest => open !== undefined && !open.adopts

const statusOfOpen = (open: OpenIngest): Status =>
  StatusMessage.fromPartial({
    ref: open.ref,
    offset: open.offset,
    total: open.total,
    startedAt: open.startedAt,
    updatedAt: open.updatedAt,
  })

async function statusOfStored(
  store: Store,
  namespace: string,
  ref: string,
  record: Ingest | undefined,
): Promise<Status | undefined> {
  if (record === undefined || record.node !== store.node || record.adopts !== '') return undefined
  const stored = await store.bytes.ingest({ namespace, ref })
  return stored === undefined
    ? undefined
    : StatusMessage.fromPartial({ ref, ...stored, startedAt: record.startedAt ?? stored.startedAt })
}
