import { Info } from '@flotilla/api/containerd/services/content/v1/content'
import { Ingest } from '@flotilla/api/flotilla/metadata/v1/records'
import { type Plan, type Resource, tables } from '@flotilla/metadata'
import { type Call, notFound } from '@flotilla/rpc'
import type { Digest } from './digest.ts'
import type { Store } from './store.ts'

export const contentResource = (digest: Digest): Resource => ({ type: 'content', id: digest.text })
export const ingestResource = (ref: string): Resource => ({ type: 'ingests', id: ref })

export const contentNotFound = (digest: Digest) => notFound(`content digest ${digest.text}`)

/** What a namespace says of a digest; undefined when it does not have it. */
export async function contentRecord(store: Store, namespace: string, digest: Digest): Promise<Info | undefined> {
  const bytes = await store.metadata.get(namespace, tables.content, digest.text)
  return bytes === undefined ? undefined : Info.decode(bytes)
}

export async function ingestRecord(store: Store, namespace: string, ref: string): Promise<Ingest | undefined> {
  const bytes = await store.metadata.get(namespace, tables.ingests, ref)
  return bytes === undefined ? undefined : Ingest.decode(bytes)
}

/** Whether a namespace has the digest, and if so, whether its bytes are on this node. */
export async function whereIs(
  store: Store,
  namespace: string,
  digest: Digest,
): Promise<'here' | 'on another node' | 'nowhere'> {
  if ((await store.metadata.get(namespace, tables.content, digest.text)) === undefined) return 'nowhere'
  return (await store.bytes.size(digest)) === undefined ? 'on another node' : 'here'
}

/** The lease of a call as a plan has it. */
export function leaseOf(call: Call, add: readonly Resource[], remove: readonly Resource[] = []): Pick<Plan, 'lease'> {
  return call.lease ? { lease: { id: call.lease, add, remove } } : {}
}

/**
 * Lets the call's lease hold content that is there already, and ends the ingest that it made needless. False when the
 * content has gone meanwhile.
 */
export async function joinExisting(
  store: Store,
  call: Call,
  namespace: string,
  digest: Digest,
  ref?: string,
): Promise<boolean> {
  if (ref === undefined && !call.lease) return true
  const outcome = await store.metadata.transact(namespace, {
    checks: [{ is: 'present', table: tables.content, field: digest.text }],
    writes: ref === undefined ? [] : [{ op: 'delete', table: tables.ingests, field: ref }],
    ...leaseOf(call, [contentResource(digest)], ref === undefined ? [] : [ingestResource(ref)]),
  })
  return outcome.ok
}
