import { rm } from 'node:fs/promises'
import { Ingest } from '@flotilla/api/flotilla/metadata/v1/records'
import { tables } from '@flotilla/metadata'
import { findIngests, removeIngest } from './ingest-directory.ts'
import type { Store } from './store.ts'

/** Namespaces read at once. */
const atOnce = 64

/**
 * Puts right what an abrupt end left. An ingest stays when both its directory and its record are there; a record
 * without bytes, a directory without a record and what was half made or half removed go. Blobs are not looked at: one
 * whose commit did not get to its record is harmless, adoptable, and gone with the next full sweep.
 */
export async function recover(store: Store): Promise<void> {
  const found = await findIngests(store.layout)
  const directories = new Set(found.filter(({ owner }) => owner !== undefined).map(({ directory }) => directory))
  for (const { directory, owner } of found)
    if (owner === undefined) await rm(directory, { recursive: true, force: true })

  const names = await store.metadata.namespaceNames()
  for (let i = 0; i < names.length; i += atOnce)
    await Promise.all(names.slice(i, i + atOnce).map((namespace) => recoverNamespace(store, namespace, directories)))
  for (const directory of directories) await removeIngest(store.layout, directory)
}

/** Takes the directories that have a record out of the set; what remains has none. */
async function recoverNamespace(store: Store, namespace: string, directories: Set<string>): Promise<void> {
  for (const [ref, bytes] of await store.metadata.all(namespace, tables.ingests)) {
    const record = Ingest.decode(bytes)
    if (record.node !== store.node) continue
    if (record.adopts !== '') store.adoptions.add(record.adopts, namespace, ref)
    else if (!directories.delete(store.layout.ingest(namespace, ref)))
      await store.metadata.transact(namespace, {
        checks: [{ is: 'equals', table: tables.ingests, field: ref, value: bytes }],
        writes: [{ op: 'delete', table: tables.ingests, field: ref }],
      })
  }
}
