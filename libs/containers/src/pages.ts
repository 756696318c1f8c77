import { keyOf, type Metadata, mapRedisError, tables } from '@flotilla/metadata'

/** Records read at a time: some megabytes of specs, a few milliseconds of decoding. */
const pageSize = 200

/**
 * All containers of a namespace in byte order of their ids, in pieces, each (a stored Container) as it is when it is read. Those removed
 * meanwhile are left out.
 */
export async function* containerPages(metadata: Metadata, namespace: string): AsyncGenerator<Buffer[]> {
  const ids = await metadata.redis.hkeys(keyOf(namespace, tables.containers)).catch((error: unknown) => {
    throw mapRedisError(error)
  })
  // Identifiers are ASCII, so the order of their characters is that of their bytes.
  ids.sort()
  for (let at = 0; at < ids.length; at += pageSize) {
    const records = await metadata.getMany(namespace, tables.containers, ids.slice(at, at + pageSize))
    yield records.filter((bytes) => bytes !== undefined)
  }
}
