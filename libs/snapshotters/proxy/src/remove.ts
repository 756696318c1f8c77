import type { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { hasCode, makeCall, type ServiceOf, status } from '@flotilla/rpc'
import type { NameFiles, RemoteNames } from './names.ts'

type Remote = ServiceOf<SnapshotsDefinition>

/**
 * Removes snapshots from the other program, in whatever order they are given: those that still have children wait for
 * the others. What cannot be removed keeps its id, and the first reason is thrown.
 */
export async function removeAll(
  remote: Remote,
  snapshotter: string,
  names: NameFiles,
  ids: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  let left = ids.filter((id) => names.find(id) !== undefined)
  const namespaces = new Set(left.map((id) => names.get(id).namespace))
  for (;;) {
    const failures: Array<{ id: string; error: unknown }> = []
    for (const id of left) {
      try {
        if (!names.isShared(id)) await removeOne(remote, snapshotter, names.get(id), signal)
        await names.delete(id)
      } catch (error) {
        failures.push({ id, error })
      }
    }
    const [first] = failures
    if (first === undefined) break
    if (failures.length === left.length) throw first.error
    left = failures.map(({ id }) => id)
  }
  // Some free the bytes only then.
  for (const namespace of namespaces) {
    await remote.cleanup({ snapshotter }, makeCall({ namespace, signal })).catch((error: unknown) => {
      if (!hasCode(error, status.UNIMPLEMENTED)) throw error
    })
  }
}

async function removeOne(
  remote: Remote,
  snapshotter: string,
  { namespace, active, committed }: RemoteNames,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const key of [committed, active]) {
    if (key === '') continue
    await remote.remove({ snapshotter, key }, makeCall({ namespace, signal })).catch((error: unknown) => {
      if (!hasCode(error, status.NOT_FOUND)) throw error
    })
  }
}
