import { Info, SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { type Call, clientOf, connect, hasCode, invalidArgument, makeCall, status } from '@flotilla/rpc'
import {
  type Directory,
  type DiskUsage,
  type DriverKind,
  type NewDirectory,
  TargetExists,
} from '@flotilla/snapshot-driver'
import { Turns } from '@flotilla/turns'
import { openNameFiles, type RemoteNames } from './names.ts'
import { removeAll } from './remove.ts'
import { existingTarget, targetLabel } from './target.ts'
import { forUs, wanted } from './wanted.ts'

export interface ProxyOptions {
  /** Name of the snapshotter, here and in what the other program is asked. */
  readonly name: string
  /** `unix:///path`. */
  readonly address: string
  /** What its owner says that it can do: `remap-ids`, `rebase`. */
  readonly capabilities?: readonly string[]
  /** What introspection tells of it. */
  readonly exports?: Readonly<Record<string, string>>
}

type Commitment = Directory & { readonly name: string; readonly rebased: boolean }

/** Ids tried in a row that the other program already has: it may have kept what we no longer know. */
const attempts = 100

/**
 * Turn of whoever takes over a snapshot that the other program has already, or removes one: it may be the same one, and
 * who removes it must know of all who have it.
 */
const sharing = 'sharing'

/** Milliseconds for taking back what a caller who has gone no longer wants. */
const takeBackWithin = 10_000

/**
 * The driver for snapshots of another program, at the other end of a socket. The program need not run when we start: calls
 * are UNAVAILABLE until it does.
 */
export function proxy({ name: snapshotter, address, capabilities = [], exports = {} }: ProxyOptions): DriverKind {
  return {
    name: snapshotter,
    exports: { address, ...exports },
    async open(root) {
      const names = await openNameFiles(root)
      const turns = new Turns()
      const channel = connect(address)
      const remote = clientOf(SnapshotsDefinition, channel)
      const callOf = (namespace: string, signal?: AbortSignal) => makeCall({ namespace, signal })
      const nameOf = (id: string) => names.get(id).committed || names.get(id).active

      async function ask({ readonly, parents, labels }: NewDirectory, own: RemoteNames, signal: AbortSignal) {
        const parent = parents[0] === undefined ? '' : nameOf(parents[0])
        const request = { snapshotter, key: own.active, parent, labels: wanted(labels) }
        await (readonly ? remote.view : remote.prepare)(request, callOf(own.namespace, signal))
      }

      async function remove(ids: readonly string[], signal?: AbortSignal): Promise<void> {
        using _ = await turns.take(sharing, signal)
        await removeAll(remote, snapshotter, names, ids, signal)
      }

      /** Undoes a request of which nobody knows whether it was done; left to the collector when it cannot be now. */
      async function takeBack(id: string): Promise<void> {
        await remove([id], AbortSignal.timeout(takeBackWithin)).catch(() => {})
      }

      /** Undefined when the other program has something by that name from before. */
      async function make(request: NewDirectory, signal: AbortSignal) {
        const id = await names.next()
        const { namespace, key } = request
        const own = { namespace, active: `${namespace}/${id}/${key}`, committed: '' }
        const parent = request.parents[0] === undefined ? '' : nameOf(request.parents[0])
        await names.put(id, own)
        try {
          await ask(request, own, signal)
          return id
        } catch (error) {
          const exists = hasCode(error, status.ALREADY_EXISTS)
          const target = request.labels[targetLabel]
          if (exists && target === undefined) {
            await names.delete(id)
            return undefined
          }
          // A program that gave us its own snapshot for the target may have begun ours.
          await takeBack(id)
          if (!exists || target === undefined) throw error
          using _ = await turns.take(sharing, signal)
          const found = await existingTarget(remote, { snapshotter, target, parent }, callOf(namespace, signal))
          const adopted = await names.next()
          await names.put(adopted, { namespace, active: '', committed: found.name })
          throw new TargetExists(adopted, forUs(found.labels))
        }
      }

      /** Asks for an id by the name that it has over there now. */
      async function byName<T>(id: string, signal: AbortSignal, ask: (name: string, call: Call) => Promise<T>) {
        const { namespace, active, committed } = names.get(id)
        const call = callOf(namespace, signal)
        if (committed === '') return await ask(active, call)
        return await ask(committed, call).catch((error: unknown) => {
          // Named, but not committed: the process died in between.
          if (active === '' || !hasCode(error, status.NOT_FOUND)) throw error
          return ask(active, call)
        })
      }

      async function isCommitted(key: string, call: Call): Promise<boolean> {
        try {
          await remote.stat({ snapshotter, key }, call)
          return true
        } catch (error) {
          if (hasCode(error, status.NOT_FOUND)) return false
          throw error
        }
      }

      /** A second commit, after the record of the first failed, finds it done under the first one's name. */
      async function commit(
        { id, labels, name, parents, rebased }: Commitment,
        signal: AbortSignal,
      ): Promise<DiskUsage> {
        const { namespace, active, committed } = names.get(id)
        const call = callOf(namespace, signal)
        let key = committed
        if (key === '' || !(await isCommitted(key, call))) {
          key = `${namespace}/${id}/${name}`
          await names.put(id, { namespace, active, committed: key })
          const parent = rebased && parents[0] !== undefined ? nameOf(parents[0]) : ''
          await remote.commit({ snapshotter, name: key, key: active, labels: wanted(labels), parent }, call)
        }
        const { size, inodes } = await remote.usage({ snapshotter, key }, call)
        return { size, inodes }
      }

      return {
        capabilities,
        async create(request, signal) {
          for (const parent of request.parents) names.get(parent)
          for (let attempt = 0; attempt < attempts; attempt++) {
            const made = await make(request, signal).catch((error: unknown) => {
              // What it said that it has may have been removed before it was taken over.
              if (attempt > 0 || !hasCode(error, status.NOT_FOUND)) throw error
            })
            if (made !== undefined) return made
          }
          throw invalidArgument(`snapshotter ${snapshotter} has other snapshots by our names`)
        },
        async mounts({ id }) {
          const { namespace, active } = names.get(id)
          return (await remote.mounts({ snapshotter, key: active }, callOf(namespace))).mounts
        },
        usage: ({ id }, signal) => byName(id, signal, (key, call) => remote.usage({ snapshotter, key }, call)),
        async relabel({ id, labels, changed }, signal) {
          // It has labels of its own on its snapshots, without which it may not know them again.
          const updateMask = changed.map((key) => `labels.${key}`)
          await byName(id, signal, (name, call) =>
            remote.update({ snapshotter, info: Info.fromPartial({ name, labels: { ...labels } }), updateMask }, call),
          )
        },
        async commit(directory, signal) {
          using _ = await turns.take(directory.id)
          return await commit(directory, signal)
        },
        remove: (ids) => remove(ids),
        ids: (age) => names.older(age),
        async [Symbol.asyncDispose]() {
          channel.close()
        },
      }
    },
  }
}
