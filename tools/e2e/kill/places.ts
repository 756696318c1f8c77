import { join } from 'node:path'
import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { NamespacesDefinition } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { HealthDefinition } from '@flotilla/api/grpc/health/v1/health'
import { parts } from '@flotilla/compose'
import { makeCall } from '@flotilla/rpc'
import { firstWords, until } from '@flotilla/testing'
import { type Clients, collect, connectTo } from '../harness/clients.ts'
import { rowsOf } from '../harness/output.ts'
import { type System, underTest } from '../harness/system.ts'

const services = [...parts.map(({ name }) => name), 'gateway']
const stores = ['redis-server', 'nats-server']

/** Every process of ours and the stores, by the names that {@link System.processes} has; and all of them at once. */
export const places: readonly string[] = [...(underTest === 'services' ? services : ['main']), ...stores, 'all']

/** Those that stay away until they are let back; a standalone's stores are started again at once. */
export const holdable: readonly string[] =
  underTest === 'services' ? places.filter((place) => place !== 'nats-server') : ['main']

/** Milliseconds for a test that starts everything again, as a dozen processes, while other tests use the machine. */
export const patience = 240_000

const whole = (place: string) => place === 'main' || place === 'all'

/**
 * Kills -9 what runs at a place. The function answered starts it again, or lets its keeper do that, and waits until
 * everything serves.
 */
export async function takeAway(system: System, place: string): Promise<() => Promise<void>> {
  if (whole(place)) {
    await system.kill()
    return async () => {
      await system.start()
      await everythingServes(system)
    }
  }
  const before = await system.processes()
  const pid = before.get(place)
  if (pid === undefined) throw new Error(`no process ${place} among ${[...before.keys()].join(', ')}`)
  // A keeper that sleeps starts nothing again.
  const keeper = before.get('keeper')
  if (keeper !== undefined) process.kill(keeper, 'SIGSTOP')
  process.kill(pid, 'SIGKILL')
  return async () => {
    if (keeper !== undefined) process.kill(keeper, 'SIGCONT')
    await until(`a new ${place}`, async () => ![undefined, pid].includes((await system.processes()).get(place)))
    await everythingServes(system)
  }
}

/** Kills -9 what runs at a place, and waits until everything serves again. */
export async function crash(system: System, place: string): Promise<void> {
  const back = await takeAway(system, place)
  await back()
}

async function everythingServes(system: System): Promise<void> {
  await until('the stores to answer', async () => {
    const redis = await firstWords({ path: join(system.state, 'redis/redis.sock') }, 'PING\r\n')
    return redis.startsWith('+PONG')
  })
  if (system.kind === 'services')
    for (const name of services.filter((service) => service !== 'gateway'))
      await until(`${name} to serve`, () => isHealthy(join(system.state, 'services', `${name}.sock`)))
  await everyServiceAnswers(system)
}

/**
 * The rows of `ctr tasks ls`, once the node is heard again: a task is UNKNOWN while the tasks service and the node's agent
 * have not both found their way back to the bus, each in its own time.
 */
export async function knownTasks(ctr: (...args: string[]) => Promise<string>): Promise<string[][]> {
  return await until('the node to tell of its tasks', async () => {
    const rows = rowsOf(await ctr('tasks', 'ls'))
    return rows.every((row) => row.at(-1) !== 'UNKNOWN') && rows
  })
}

export async function everyServiceAnswers(system: System): Promise<void> {
  using clients = connectTo(system.address)
  await until('every service to answer', () => answers(clients))
}

async function isHealthy(socket: string): Promise<boolean> {
  using clients = connectTo(socket)
  const { status } = await clients.of(HealthDefinition).check({ service: '' }, makeCall({ timeout: 5_000 }))
  return status === 1
}

async function answers(clients: Clients): Promise<true> {
  const call = makeCall({ namespace: 'probe', timeout: 5_000 })
  await clients.of(NamespacesDefinition).list({ filter: '' }, call)
  await clients.of(ImagesDefinition).list({ filters: [] }, call)
  await clients.of(ContainersDefinition).list({ filters: [] }, call)
  await clients.of(LeasesDefinition).list({ filters: [] }, call)
  await clients.of(ContentDefinition).listStatuses({ filters: [] }, call)
  await collect(clients.of(SnapshotsDefinition).list({ snapshotter: 'overlayfs', filters: [] }, call))
  await clients.of(TasksDefinition).list({ filter: '' }, call)
  return true
}
