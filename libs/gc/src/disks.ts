import type { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import type { DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { keyOf, type Metadata, mapRedisError, tables, trashTable } from '@flotilla/metadata'
import { makeCall, nodeAway, type ServiceOf, unavailable } from '@flotilla/rpc'
import { parseStore } from './objects.ts'
import { contentTrashTable } from './removal.ts'

export interface Nodes {
  /** Names of all nodes, answering or not. */
  readonly nodes: () => Promise<readonly string[]>
  /** Whether a node is there to be asked; asked in any case when this is absent. */
  readonly isReady?: (node: string) => Promise<boolean>
  readonly content: (node: string) => Pick<ServiceOf<typeof LocalBlobsDefinition>, 'sweep'>
  readonly drivers: (node: string) => Pick<ServiceOf<typeof DriversDefinition>, 'remove' | 'ids' | 'list'>
}

/** Digests in one message. */
const digestBatch = 500
/** Directories in one message; each may be a whole root file system. */
const directoryBatch = 100
/** Milliseconds between two complete looks at a node's disk, for what a crash left; the first is at the start. */
const completeEvery = 3_600_000
/** As long after the first comparison of directories there is another: what a crash left just before was too young. */
const secondLook = 90_000

/** Told of each part that failed; the others go on. */
export type Note = (what: string, error: unknown) => void

/** What was found on the disks of those nodes that were due and answered. */
export interface Listed {
  readonly nodes: ReadonlySet<string>
  /** Ids of directories by `NODE/SNAPSHOTTER`. */
  readonly directories: ReadonlyMap<string, readonly string[]>
}

interface NodeState {
  /** When its blobs have to be looked at one and all, milliseconds since the epoch. */
  sweepAt: number
  /** When its snapshot directories have to be compared with the records. */
  compareAt: number
}

/** What removed records leave on the disks of the nodes, and its removal there. */
export class Disks {
  readonly #metadata: Metadata
  readonly #nodes: Nodes
  readonly #signal: AbortSignal
  readonly #states = new Map<string, NodeState>()

  constructor(metadata: Metadata, nodes: Nodes, signal: AbortSignal) {
    this.#metadata = metadata
    this.#nodes = nodes
    this.#signal = signal
  }

  /**
   * Removes what the records of a namespace no more name.
   *
   * @returns whether nothing is left to be tried again
   */
  async emptyTrash(namespace: string, note: Note): Promise<boolean> {
    let complete = true
    const noting: Note = (what, error) => {
      complete = false
      note(what, error)
    }
    await Promise.all([
      this.#removeBlobs(namespace, note).catch((error) => noting(`blobs of namespace "${namespace}"`, error)),
      this.#removeDirectories(namespace, noting).catch((error) =>
        noting(`snapshot directories of namespace "${namespace}"`, error),
      ),
    ])
    return complete
  }

  /** Each node looks at all namespaces itself before it unlinks. One that cannot now looks at every blob later. */
  async #removeBlobs(namespace: string, note: Note): Promise<void> {
    for await (const digests of this.#piecesOf(namespace, contentTrashTable, digestBatch)) {
      await this.#onEach(await this.#known(), async (node, state) => {
        try {
          await (await this.#contentOf(node)).sweep({ digests }, makeCall({ signal: this.#signal }))
        } catch (error) {
          state.sweepAt = 0
          note(`blobs on node "${node}"`, error)
        }
      })
      await this.#forget(namespace, contentTrashTable, digests)
    }
  }

  /** Removing an unknown directory is no error, so neither is being cut off between a removal and its note. */
  async #removeDirectories(namespace: string, note: Note): Promise<void> {
    const stores = (await this.#metadata.members(namespace, tables.snapshotStores)).map(parseStore)
    await Promise.all(
      stores.map(async ({ node, snapshotter }) => {
        const table = trashTable(node, snapshotter)
        try {
          for await (const ids of this.#piecesOf(namespace, table, directoryBatch)) {
            await (await this.#driversOf(node)).remove({ snapshotter, ids }, makeCall({ signal: this.#signal }))
            await this.#forget(namespace, table, ids)
          }
        } catch (error) {
          note(`${snapshotter} directories on node "${node}"`, error)
        }
      }),
    )
  }

  /** Has each node remove the bytes of ingests whose record went. */
  async sweepIngests(note: Note): Promise<void> {
    await this.#onEach(await this.#known(), async (node, state) => {
      try {
        const call = makeCall({ signal: this.#signal })
        await (await this.#contentOf(node)).sweep({ digests: [], ingestsOnly: true }, call)
      } catch (error) {
        state.sweepAt = 0
        note(`ingests on node "${node}"`, error)
      }
    })
  }

  /** Has the blobs of each node looked at one and all, if that is due. */
  async sweepCompletely(note: Note): Promise<void> {
    await this.#onEach(await this.#known(), async (node, state) => {
      if (Date.now() < state.sweepAt) return
      try {
        await (await this.#contentOf(node)).sweep({ digests: [] }, makeCall({ signal: this.#signal }))
        state.sweepAt = Date.now() + completeEvery
      } catch (error) {
        note(`all blobs on node "${node}"`, error)
      }
    })
  }

  /** Whether there is a node that has to be looked at completely, blobs or directories. */
  async isOwing(): Promise<boolean> {
    return (await this.#known()).some(([, { sweepAt, compareAt }]) => Date.now() >= sweepAt || Date.now() >= compareAt)
  }

  /**
   * The directories, older than a minute, on the nodes of which they are due to be compared with the records. A
   * directory listed here that no record names at any later time, in any namespace, is one that a crash left between
   * making it and recording it: so this is called before the records are read.
   */
  async listDirectories(note: Note): Promise<Listed> {
    const nodes = new Set<string>()
    const directories = new Map<string, readonly string[]>()
    await this.#onEach(await this.#known(), async (node, state) => {
      if (Date.now() < state.compareAt) return
      try {
        const asked = await this.#driversOf(node)
        const { drivers } = await asked.list({}, makeCall({ signal: this.#signal }))
        for (const { name, unavailable } of drivers) {
          if (unavailable !== '') continue
          const call = makeCall({ signal: this.#signal })
          const { ids } = await asked.ids({ snapshotter: name }, call)
          directories.set(`${node}/${name}`, ids)
        }
        nodes.add(node)
      } catch (error) {
        note(`directories on node "${node}"`, error)
      }
    })
    return { nodes, directories }
  }

  /**
   * Removes the directories that no record named.
   *
   * @param named by `NODE/SNAPSHOTTER`, the ids that records of all namespaces named since the listing
   */
  async removeOrphans(listed: Listed, named: ReadonlyMap<string, ReadonlySet<string>>, note: Note): Promise<void> {
    await this.#onEach(await this.#known(), async (node, state) => {
      if (!listed.nodes.has(node)) return
      try {
        for (const [store, ids] of listed.directories) {
          const { node: owner, snapshotter } = parseStore(store)
          if (owner !== node) continue
          const orphans = ids.filter((id) => !named.get(store)?.has(id))
          for (let i = 0; i < orphans.length; i += directoryBatch) {
            const call = makeCall({ signal: this.#signal })
            await this.#nodes.drivers(node).remove({ snapshotter, ids: orphans.slice(i, i + directoryBatch) }, call)
          }
        }
        state.compareAt = Date.now() + (state.compareAt === 0 ? secondLook : completeEvery)
      } catch (error) {
        note(`directories without a record on node "${node}"`, error)
      }
    })
  }

  /** The nodes there are, with what this process remembers of them. */
  async #known(): Promise<Array<readonly [string, NodeState]>> {
    const names = await this.#nodes.nodes()
    return names.map((name) => {
      const state = this.#states.get(name) ?? { sweepAt: 0, compareAt: 0 }
      this.#states.set(name, state)
      return [name, state] as const
    })
  }

  async #onEach(
    nodes: ReadonlyArray<readonly [string, NodeState]>,
    work: (node: string, state: NodeState) => Promise<void>,
  ): Promise<void> {
    await Promise.all(nodes.map(([node, state]) => work(node, state)))
  }

  async #contentOf(node: string): Promise<ReturnType<Nodes['content']>> {
    await this.#requireReady(node)
    return this.#nodes.content(node)
  }

  async #driversOf(node: string): Promise<ReturnType<Nodes['drivers']>> {
    await this.#requireReady(node)
    return this.#nodes.drivers(node)
  }

  /** Sooner than the question itself would be found to have no answer. */
  async #requireReady(node: string): Promise<void> {
    if (!((await this.#nodes.isReady?.(node)) ?? true))
      throw unavailable(`node "${node}" is not ready`, { reason: nodeAway })
  }

  /** The members of a set in pieces. What is added meanwhile may come or not; it is trash for the next time then. */
  async *#piecesOf(namespace: string, table: string, size: number): AsyncGenerator<string[]> {
    let cursor = '0'
    let left: string[] = []
    do {
      this.#signal.throwIfAborted()
      const [next, members] = await this.#metadata.redis
        .sscan(keyOf(namespace, table), cursor, 'COUNT', size)
        .catch((error: unknown) => {
          throw mapRedisError(error)
        })
      cursor = next
      left.push(...members)
      for (; left.length >= size; left = left.slice(size)) yield left.slice(0, size)
    } while (cursor !== '0')
    if (left.length > 0) yield left
  }

  async #forget(namespace: string, table: string, members: readonly string[]): Promise<void> {
    try {
      await this.#metadata.redis.srem(keyOf(namespace, table), ...members)
    } catch (error) {
      throw mapRedisError(error)
    }
  }
}
