import { join } from 'node:path'
import type { Driver, DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import type { Logger } from '@flotilla/log'
import { invalidArgument, type ServiceOf } from '@flotilla/rpc'
import { continueIds, type DriverKind, type SnapshotDriver, TargetExists } from '@flotilla/snapshot-driver'
import { explained } from './explained.ts'

export interface DriversDeps {
  /** The daemon's root directory; a driver that has no root of its own has a directory below it, named as containerd's plugin is. */
  readonly root: string
  readonly drivers: readonly DriverKind[]
  readonly logger: Logger
  /**
   * The highest id that records of this node name for a snapshotter, 0 when there are none; asked for drivers without a
   * counter of their own.
   */
  readonly highestRecordedId?: (snapshotter: string) => Promise<number>
  /** Milliseconds that a new directory is protected from collection, until a record names it; 60,000 by default. */
  readonly protection?: number
}

/** The service, and the end of the drivers. */
export type Drivers = ServiceOf<DriversDefinition> & AsyncDisposable

interface Opened {
  readonly description: Driver
  readonly driver: SnapshotDriver | undefined
}

async function open(kind: DriverKind, { root: daemonRoot, logger, highestRecordedId }: DriversDeps): Promise<Opened> {
  const root = kind.root ?? join(daemonRoot, `io.containerd.snapshotter.v1.${kind.name}`)
  const described = { name: kind.name, root, exports: { ...(kind.exports ?? { root }) } }
  try {
    const id = highestRecordedId && (await continueIds(root, () => highestRecordedId(kind.name)))
    if (id !== undefined)
      logger.warn(
        { snapshotter: kind.name, root, id },
        'directories of snapshots are gone that have records, up to this id',
      )
    const driver = await kind.open(root, logger)
    const capabilities = [...driver.capabilities]
    const takesLabels = driver.relabel !== undefined
    return { description: { ...described, capabilities, unavailable: '', takesLabels }, driver }
  } catch (err) {
    logger.info({ snapshotter: kind.name, reason: String(err) }, 'snapshotter not loaded')
    const unavailable = (err instanceof Error && err.message) || String(err)
    return { description: { ...described, capabilities: [], unavailable, takesLabels: false }, driver: undefined }
  }
}

/**
 * Opens the snapshot drivers of this node and serves them. One that cannot be opened is listed as unavailable, and to
 * all other calls it is not loaded.
 */
export async function createDrivers(deps: DriversDeps): Promise<Drivers> {
  const { protection = 60_000 } = deps
  const opened = await Promise.all(deps.drivers.map((kind) => open(kind, deps)))
  const byName = new Map(opened.map((one) => [one.description.name, one.driver]))

  async function use<T>(snapshotter: string, what: string, work: (driver: SnapshotDriver) => Promise<T>): Promise<T> {
    if (snapshotter === '') throw invalidArgument('snapshotter argument missing')
    const driver = byName.get(snapshotter)
    if (driver === undefined) throw invalidArgument(`snapshotter not loaded: ${snapshotter}`)
    try {
      return await work(driver)
    } catch (error) {
      throw explained(`snapshotter ${snapshotter}: ${what}`, error)
    }
  }

  return {
    list: async () => ({ drivers: opened.map(({ description }) => description) }),
    create: (request, call) =>
      use(request.snapshotter, 'make a snapshot', async (driver) => {
        try {
          const id = await driver.create({ ...request, namespace: call.namespace ?? '' }, call.signal)
          return { id, committed: false, labels: {} }
        } catch (error) {
          if (error instanceof TargetExists) return { id: error.id, committed: true, labels: { ...error.labels } }
          throw error
        }
      }),
    mounts: (request) =>
      use(request.snapshotter, 'find mounts', async (driver) => ({ mounts: await driver.mounts(request) })),
    usage: (request, call) => use(request.snapshotter, 'measure', (driver) => driver.usage(request, call.signal)),
    commit: (request, call) => use(request.snapshotter, 'commit', (driver) => driver.commit(request, call.signal)),
    relabel: (request, call) =>
      use(request.snapshotter, 'change labels', async (driver) => {
        await driver.relabel?.(request, call.signal)
        return {}
      }),
    remove: ({ snapshotter, ids }) =>
      use(snapshotter, 'remove', async (driver) => {
        await driver.remove(ids)
        return {}
      }),
    ids: ({ snapshotter }) =>
      use(snapshotter, 'list directories', async (driver) => ({ ids: await driver.ids(protection) })),
    async [Symbol.asyncDispose]() {
      await Promise.all(opened.map(({ driver }) => driver?.[Symbol.asyncDispose]()))
    },
  }
}
