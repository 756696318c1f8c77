import { setImmediate } from 'node:timers/promises'
import { asked, keyOf, type Metadata, tables } from '@flotilla/metadata'

/** Records read at a time: some megabytes of specs, a few milliseconds of decoding. */
const pageSize = 200

/**
 * All containers of a namespace in byte order of their ids, in pieces, each (a stored Container) as it is when it is read. Those removed
 * meanwhile are left out.
 */
export async function* containerPages(metadata: Metadata, namespace: string): AsyncGenerator<Buffer[]> {
  const ids = await asked(metadata.redis.hkeys(keyOf(namespace, tables.containers)))
  // Identifiers are ASCII, so the order of their characters is that of their bytes.
  ids.sort()
  const ask = (at: number) => {
    const answer = metadata.getMany(namespace, tables.containers, ids.slice(at, at + pageSize))
    // It may fail while the caller is at the page before, or never comes back for it.
    answer.catch(() => {})
    return answer
  }
  let coming = ask(0)
  for (let at = pageSize; at - pageSize < ids.length; at += pageSize) {
    const records = await coming
    // The store gets the next page ready while the caller works on this one.
    coming = ask(at)
    // That leaves at the end of this turn; and without turns a large table that is in memory would keep all others waiting.
    await setImmediate()
    yield records.filter((bytes) => bytes !== undefined)
  }
}
