import { ContentDelete } from '@flotilla/api/containerd/events/events'
import {
  type DeleteContentRequest,
  Info,
  type InfoRequest,
  InfoResponse,
  type ListContentRequest,
  type ListContentResponse,
  type UpdateRequest,
  UpdateResponse,
} from '@flotilla/api/containerd/services/content/v1/content'
import { Empty } from '@flotilla/api/google/protobuf/empty'
import { contentFields, parseFilters } from '@flotilla/filters'
import {
  eventOf,
  maskedKey,
  now,
  tables,
  updateRecord,
  validateLabels,
  withMaskedKey,
  withoutEmpty,
} from '@flotilla/metadata'
import { type Call, invalidArgument, requireNamespace } from '@flotilla/rpc'
import { parseDigest, parseDigestNamingFault } from './digest.ts'
import { contentNotFound, contentRecord, contentResource, leaseOf } from './records.ts'
import type { Store } from './store.ts'

/** Records in one message of a list. */
const groupSize = 100

export async function info(store: Store, request: InfoRequest, call: Call): Promise<InfoResponse> {
  const digest = parseDigest(request.digest)
  const record = await contentRecord(store, requireNamespace(call), digest)
  if (record === undefined) throw contentNotFound(digest)
  return InfoResponse.fromPartial({ info: record })
}

export async function update(store: Store, request: UpdateRequest, call: Call): Promise<UpdateResponse> {
  const digest = parseDigest(request.info?.digest ?? '')
  const namespace = requireNamespace(call)
  const requested = request.info?.labels ?? {}
  const paths = request.updateMask ?? []
  const updated = await updateRecord(store.metadata, {
    namespace,
    table: tables.content,
    field: digest.text,
    type: Info,
    missing: () => contentNotFound(digest),
    change: (stored) => {
      const labels = paths.length === 0 ? withoutEmpty(requested) : masked(stored, requested, paths)
      validateLabels(labels, 'info.Labels: ')
      return { ...stored, labels, updatedAt: now() }
    },
    plan: () => ({ touches: [contentResource(digest)] }),
  })
  return UpdateResponse.fromPartial({ info: updated })
}

function masked(stored: Info, requested: Readonly<Record<string, string>>, paths: readonly string[]) {
  let labels = stored.labels
  for (const path of paths) {
    const key = maskedKey(path, 'labels')
    if (key !== undefined) labels = withMaskedKey(labels, requested, key)
    else if (path === 'labels') labels = withoutEmpty(requested)
    else throw invalidArgument(`cannot update "${path}" field on content info "${stored.digest}"`)
  }
  return labels
}

export async function* list(
  store: Store,
  request: ListContentRequest,
  call: Call,
): AsyncGenerator<ListContentResponse> {
  const matcher = parseFilters(request.filters)
  const rows = await store.metadata.all(requireNamespace(call), tables.content)
  let group: Info[] = []
  for (const [, bytes] of rows) {
    const record = Info.decode(bytes)
    if (!matcher.matches(contentFields(record))) continue
    group.push(record)
    if (group.length === groupSize) {
      yield { info: group }
      group = []
    }
  }
  if (group.length > 0) yield { info: group }
}

/** Content.Delete: the namespace has the digest no more. The bytes go with a later sweep. */
export async function remove(store: Store, request: DeleteContentRequest, call: Call): Promise<Empty> {
  const digest = parseDigestNamingFault(request.digest)
  const outcome = await store.metadata.transact(requireNamespace(call), {
    checks: [{ is: 'present', table: tables.content, field: digest.text }],
    writes: [
      { op: 'delete', table: tables.content, field: digest.text },
      // So that the next collection asks the nodes to unlink the bytes.
      { op: 'add', table: tables.contentTrash, field: digest.text },
    ],
    ...leaseOf(call, [], [contentResource(digest)]),
    events: [
      eventOf(
        '/content/delete',
        'containerd.events.ContentDelete',
        ContentDelete,
        ContentDelete.fromPartial({ digest: digest.text }),
      ),
    ],
    deletions: 1,
  })
  if (!outcome.ok) throw contentNotFound(digest)
  return Empty.fromPartial({})
}
