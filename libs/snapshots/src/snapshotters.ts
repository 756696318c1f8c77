import type { Driver, DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { type Call, invalidArgument, type ServiceOf } from '@flotilla/rpc'

/** Knows which snapshotters a node has. */
export interface Snapshotters {
  /** INVALID_ARGUMENT for a name that is empty or not one of the node's, UNAVAILABLE when the node cannot be asked. */
  require(node: string, snapshotter: string, call: Call): Promise<Driver>
}

/**
 * Asks each node once for each of its snapshotters. What a node once had is taken to be there: should it be gone, the
 * records still are, and calls that need the driver are refused by the node itself.
 */
export function createSnapshotters(drivers: (node: string) => ServiceOf<DriversDefinition>): Snapshotters {
  const known = new Map<string, Driver>()
  return {
    async require(node, snapshotter, call) {
      if (snapshotter === '') throw invalidArgument('snapshotter argument missing')
      const id = `${node}/${snapshotter}`
      const cached = known.get(id)
      if (cached) return cached
      const listed = await drivers(node).list({}, call)
      const driver = listed.drivers.find(({ name, unavailable }) => name === snapshotter && unavailable === '')
      if (driver === undefined) throw invalidArgument(`snapshotter not loaded: ${snapshotter}`)
      known.set(id, driver)
      return driver
    },
  }
}
