import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { MountsDefinition } from '@flotilla/api/containerd/services/mounts/v1/mounts'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { DriversDefinition, NodeSandboxesDefinition, NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { StreamsDefinition } from '@flotilla/api/flotilla/peer/v1/peer'
import { bridgedTasks, createAttachments, createBridges, createStreamsService } from '@flotilla/bridge'
import { announce, describing, joinCluster } from '@flotilla/cluster'
import { createDrivers } from '@flotilla/drivers'
import { createMountsService, rootfsMounts } from '@flotilla/mounts'
import { createRestartMonitor } from '@flotilla/restart'
import { makeCall } from '@flotilla/rpc'
import { createNodeTasks, installedRuntimes } from '@flotilla/shim'
import { highestRecordedId } from '@flotilla/snapshots'
import { gaugeTasks, gaugeUsage } from '../gauges.ts'
import type { Part } from '../part.ts'
import { snapshotters } from '../snapshotters.ts'

/** Of flotilla. */
const version = '0.1.0'

/** Milliseconds until the mounts of a lease that is gone go too, at most. */
const leaseInterval = 10_000

/** Clients that install something do not make the directory above. */
async function makeInstallable(optPath: string): Promise<void> {
  for (const folder of ['bin', 'lib']) await mkdir(join(optPath, folder), { recursive: true, mode: 0o711 })
}

/** The environment in which programs that clients installed are found before others. */
function withInstalled(env: NodeJS.ProcessEnv, optPath: string): NodeJS.ProcessEnv {
  const before = (folder: string, path: string | undefined) =>
    [join(optPath, folder), ...(path ? [path] : [])].join(':')
  return { ...env, PATH: before('bin', env.PATH), LD_LIBRARY_PATH: before('lib', env.LD_LIBRARY_PATH) }
}

/** What only a machine's own process can do: its snapshot directories, its shims. */
export const nodeAgent: Part = {
  name: 'node-agent',
  serves: [DriversDefinition, NodeTasksDefinition, NodeSandboxesDefinition, MountsDefinition, StreamsDefinition],
  async build({
    bus,
    client,
    config,
    logger,
    metadata,
    metrics,
    onPeer,
    own,
    program,
    serve,
    serveOnNode,
    serveToPeers,
    socket,
    whenListening,
  }) {
    const name = config.nodeName
    const membership = await joinCluster({ metadata, nats: bus.nats, name, root: config.root })
    own({ [Symbol.asyncDispose]: async () => membership[Symbol.dispose]() })
    const drivers = own(
      await createDrivers({
        root: config.root,
        drivers: snapshotters(config),
        highestRecordedId: (snapshotter) => highestRecordedId(metadata, name, snapshotter),
        logger,
      }),
    )
    serveOnNode(DriversDefinition, drivers)
    await makeInstallable(config.optPath).catch((err: unknown) => {
      logger.warn({ err, path: config.optPath }, 'clients cannot install programs here')
    })
    const env = withInstalled(process.env, config.optPath)
    const mounts = own(
      await createMountsService({
        metadata,
        nodeName: name,
        directory: join(config.state, 'io.containerd.mount-manager.v1.bolt'),
        roots: [config.root, config.state],
        interval: leaseInterval,
        logger,
      }),
    )
    serve(MountsDefinition, mounts)
    const tasks = own(
      await createNodeTasks({
        root: config.root,
        state: config.state,
        grpcAddress: socket,
        ttrpcAddress: `${socket}.ttrpc`,
        publishBinary: program,
        env,
        events: client(EventsDefinition),
        rootfsMounts: rootfsMounts(mounts),
        nodeName: config.nodeName,
        logger,
      }),
    )
    const bridges = own(
      createBridges({
        directory: join(config.state, 'flotilla.node.v1.streams'),
        streams: (node) => onPeer(StreamsDefinition, node),
        logger,
      }),
    )
    await bridges.resume()
    const attachments = own(createAttachments({ streams: (node) => onPeer(StreamsDefinition, node), logger }))
    serveOnNode(NodeTasksDefinition, bridgedTasks(tasks, bridges, attachments, name))
    serveToPeers(
      StreamsDefinition,
      createStreamsService({ directory: join(config.state, 'flotilla.node.v1.attached') }),
    )
    serveOnNode(NodeSandboxesDefinition, tasks.sandboxes)
    gaugeTasks({ metadata, metrics }, tasks)
    gaugeUsage({ metadata, metrics }, tasks)
    whenListening(async () => {
      const monitor = createRestartMonitor({
        containers: client(ContainersDefinition),
        tasks: client(TasksDefinition),
        snapshots: client(SnapshotsDefinition),
        namespaces: () => metadata.namespaceNames(),
        mutations: (namespace) => metadata.mutations(namespace),
        nodeName: name,
        interval: () => config.restart.interval,
        logger,
      })
      own(monitor)
    })
    const describe = describing({
      name,
      advertise: config.cluster.advertise,
      labels: config.cluster.labels,
      version,
      root: config.root,
      state: config.state,
      snapshotters: async () =>
        (await drivers.list({}, makeCall())).drivers.filter((one) => one.unavailable === '').map((one) => one.name),
      runtimes: () => installedRuntimes(env.PATH ?? ''),
    })
    whenListening(async () => {
      own(await announce({ nats: bus.nats, metadata, name, holder: membership.holder, describe, logger }))
    })
  },
}
