import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { createRpcServer, type ServiceOf } from '@flotilla/rpc'
import type { DriverKind } from '@flotilla/snapshot-driver'
import { native } from '@flotilla/snapshotter-native'
import { proxy } from '@flotilla/snapshotter-proxy'
import { startRedis, tempWorld } from '@flotilla/testing'
import { openSnapshots, type TestSnapshots } from './fixture.ts'

type Service = ServiceOf<SnapshotsDefinition>

/** The program behind a proxy, in a process and store of its own but for the process. */
export interface Proxied extends TestSnapshots {
  readonly backend: TestSnapshots
  /** Opens the driver again, as a restart does. */
  reopen(): Promise<TestSnapshots>
}

/** The service over snapshots that a second service serves on a socket; `change` makes that one a special one. */
export async function startProxied(change: (service: Service) => Service = (service) => service): Promise<Proxied> {
  const world = await tempWorld({ name: 'proxy' })
  try {
    const redis = { backend: world.own(await startRedis({ relaxed: true })), front: world.own(await startRedis()) }
    const open = async (kind: DriverKind, name: keyof typeof redis) =>
      world.own(await openSnapshots(kind, { root: world.join(name), redis: redis[name].url }))
    const backend = await open(native(), 'backend')
    const server = createRpcServer()
    server.add(SnapshotsDefinition, change(backend.service))
    const address = `unix://${world.join('plugin.sock')}`
    await server.listen(address)
    world.cleanup(() => server.close(0))
    const reopen = () => open(proxy({ name: 'native', address }), 'front')
    return { ...(await reopen()), backend, reopen, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() }
  } catch (error) {
    await world[Symbol.asyncDispose]()
    throw error
  }
}
