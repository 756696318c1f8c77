import { Ingest } from '@flotilla/api/flotilla/metadata/v1/records'
import { tables } from '@flotilla/metadata'
import type { Owner } from './bytes.ts'
import type { Store } from './store.ts'

/** Namespaces read at once. */
const atOnce = 64

/**
 * Puts right what an abrupt end left. An ingest stays when both its directory and its record are there; a record
 * without bytes, a directory without a record and what was half made or half removed go. Blobs are not looked at: one
 * whose commit did not get to its record is harmless, adoptable, and gone with the next full sweep.
 */
export async function recover(store: Store): Promise<void> {
  const found = await store.bytes.recover()
  const left = found && new Map(found.map((owner) => [keyOf(owner), owner]))
  const names = await store.metadata.namespaceNames()
  for (let i = 0; i < names.length; i += atOnce)
    await Promise.all(names.slice(i, i + atOnce).map((namespace) => recoverNamespace(store, namespace, left)))
  for (const owner of left?.values() ?? []) await store.bytes.discard(owner)
}

// A namespace has no slash.
const keyOf = ({ namespace, ref }: Owner): string => `${namespace}/${ref}`

/** Takes the ingests that have a record out of those that were found; what remains has none. */
async function recoverNamespace(store: Store, namespace: string, left: Map<string, Owner> | undefined): Promise<void> {
  for (const [ref, bytes] of await store.metadata.all(namespace, tables.ingests)) {
    const record = Ingest.decode(bytes)
    if (record.node !== store.node) continue
    if (record.adopts !== '') store.adoptions.add(record.adopts, namespace, ref)
    else if (left !== undefined && !left.delete(keyOf({ namespace, ref })))
      await store.metadata.transact(namespace, {
        checks: [{ is: 'equals', table: tables.ingests, field: ref, value: bytes }],
        writes: [{ op: 'delete', table: tables.ingests, field: ref }],
      })
  }
}
