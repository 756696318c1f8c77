import type { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import type { DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { keyOf, type Metadata, mapRedisError, tables, trashTable } from '@flotilla/metadata'
import { makeCall, type ServiceOf } from '@flotilla/rpc'
import { parseStore } from './objects.ts'
import { contentTrashTable } from './removal.ts'

export interface Nodes {
  /** Names of all nodes, answering or not. */
  readonly nodes: () => Promise<readonly string[]>
  readonly content: (node: string) => Pick<ServiceOf<typeof LocalBlobsDefinition>, 'sweep'>
  readonly drivers: (node: string) => Pick<ServiceOf<typeof DriversDefinition>, 'remove' | 'ids' | 'list'>
}

/** Members of one message: a namespace may have any number of digests and directories to remove. */
const batch = 1_000

async function forget(metadata: Metadata, namespace: string, table: string, members: readonly string[]): Promise<void> {
  try {
    await metadata.redis.srem(keyOf(namespace, table), ...members)
  } catch (error) {
    throw mapRedisError(error)
  }
}

function* piecesOf(items: readonly string[]): Generator<string[]> {
  for (let i = 0; i < items.length; i += batch) yield items.slice(i, i + batch)
}

/**
 * Has every node unlink the bytes of the digests whose record went, each after a look of its own at all namespaces. A
 * digest is forgotten when every node has answered, so one that is away is asked again.
 */
async function removeBlobs(metadata: Metadata, { nodes, content }: Nodes, namespace: string, signal: AbortSignal) {
  for (const digests of piecesOf(await metadata.members(namespace, contentTrashTable))) {
    for (const node of await nodes()) await content(node).sweep({ digests }, makeCall({ signal }))
    await forget(metadata, namespace, contentTrashTable, digests)
  }
}

/** Removes the directories whose snapshot went. Removing an unknown one is no error, so being killed here is none. */
async function removeDirectories(metadata: Metadata, { drivers }: Nodes, namespace: string, signal: AbortSignal) {
  for (const store of await metadata.members(namespace, tables.snapshotStores)) {
    const { node, snapshotter } = parseStore(store)
    const table = trashTable(node, snapshotter)
    for (const ids of piecesOf(await metadata.members(namespace, table))) {
      await drivers(node).remove({ snapshotter, ids }, makeCall({ signal }))
      await forget(metadata, namespace, table, ids)
    }
  }
}

/** Removes from the nodes' disks what the records of a namespace no more name. Goes on where one part fails. */
export async function emptyTrash(
  metadata: Metadata,
  nodes: Nodes,
  namespace: string,
  signal: AbortSignal,
): Promise<PromiseSettledResult<void>[]> {
  return await Promise.allSettled([
    removeBlobs(metadata, nodes, namespace, signal),
    removeDirectories(metadata, nodes, namespace, signal),
  ])
}

/** Directories on the nodes' disks, older than a minute, by `NODE/SNAPSHOTTER`. Nodes that do not answer are left out. */
export async function directoriesOf({ nodes, drivers }: Nodes, signal: AbortSignal): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>()
  for (const node of await nodes()) {
    const call = makeCall({ signal })
    const list = await drivers(node)
      .list({}, call)
      .catch(() => ({ drivers: [] }))
    for (const { name, unavailable } of list.drivers) {
      if (unavailable !== '') continue
      const { ids } = await drivers(node).ids({ snapshotter: name }, call)
      found.set(`${node}/${name}`, ids)
    }
  }
  return found
}

/**
 * Removes directories that no record named at any time since they were listed: what a crash left between making a
 * directory and recording it.
 */
export async function removeOrphans(
  { drivers }: Nodes,
  listed: ReadonlyMap<string, readonly string[]>,
  named: ReadonlyMap<string, ReadonlySet<string>>,
  signal: AbortSignal,
): Promise<number> {
  let removed = 0
  for (const [store, ids] of listed) {
    const { node, snapshotter } = parseStore(store)
    const orphans = ids.filter((id) => !named.get(store)?.has(id))
    removed += orphans.length
    for (const piece of piecesOf(orphans)) await drivers(node).remove({ snapshotter, ids: piece }, makeCall({ signal }))
  }
  return removed
}
