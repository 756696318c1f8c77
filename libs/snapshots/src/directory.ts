import type {
  CreateDirectoryRequest,
  CreateDirectoryResponse,
  DriversDefinition,
} from '@flotilla/api/flotilla/node/v1/node'
import type { Outcome } from '@flotilla/metadata'
import { aborted, type Call, hasCode, makeCall, type ServiceOf, status } from '@flotilla/rpc'

/**
 * Milliseconds after which a new directory is not recorded any more. The node protects it from the collector for a
 * minute; what is left of that is for the store to answer.
 */
const recordWithin = 30_000

/** Milliseconds that removing a directory nobody will use may take before it is left to the collector. */
const removeWithin = 60_000

/** Records a directory; whether that was done. */
export type Keep = (record: () => Promise<Outcome>) => Promise<boolean>

/**
 * Makes a directory on the node, lets `use` have it, and removes it again unless `use` has recorded it through
 * `keep`. When nobody knows whether it was recorded (the store was lost meanwhile) it stays: the collector removes it if
 * there is no record.
 */
export async function withNewDirectory<T>(
  drivers: ServiceOf<DriversDefinition>,
  directory: CreateDirectoryRequest,
  call: Call,
  use: (made: CreateDirectoryResponse, keep: Keep) => Promise<T>,
): Promise<T> {
  const directoryMade = await drivers.create(directory, call)
  const made = performance.now()
  let discard = true
  try {
    return await use(directoryMade, async (record) => {
      if (performance.now() - made > recordWithin) throw aborted('the snapshot could not be recorded in time')
      discard = false
      try {
        const { ok } = await record()
        discard = !ok
        return ok
      } catch (error) {
        // The one refusal that comes as an error: the lease is unknown.
        discard = hasCode(error, status.NOT_FOUND)
        throw error
      }
    })
  } finally {
    if (discard) {
      const request = { snapshotter: directory.snapshotter, ids: [directoryMade.id] }
      // Not the client's call: it may be cancelled. What fails here the collector does later.
      await drivers.remove(request, makeCall({ timeout: removeWithin })).catch(() => {})
    }
  }
}
