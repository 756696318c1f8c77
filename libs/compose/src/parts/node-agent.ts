import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { DriversDefinition, NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { createDrivers } from '@flotilla/drivers'
import { registerNode } from '@flotilla/metadata'
import { createNodeTasks } from '@flotilla/shim'
import { native } from '@flotilla/snapshotter-native'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { gaugeTasks } from '../gauges.ts'
import type { Part } from '../part.ts'

/** What only a machine's own process can do: its snapshot directories, its shims. */
export const nodeAgent: Part = {
  name: 'node-agent',
  serves: [DriversDefinition, NodeTasksDefinition],
  async build({ client, config, logger, metadata, metrics, own, program, serveOnNode, socket, whenListening }) {
    serveOnNode(
      DriversDefinition,
      own(await createDrivers({ root: config.root, drivers: [overlayfs(), native()], logger })),
    )
    const tasks = own(
      await createNodeTasks({
        root: config.root,
        state: config.state,
        grpcAddress: socket,
        ttrpcAddress: `${socket}.ttrpc`,
        publishBinary: program,
        events: client(EventsDefinition),
        nodeName: config.nodeName,
        logger,
      }),
    )
    serveOnNode(NodeTasksDefinition, tasks)
    gaugeTasks({ metadata, metrics }, tasks)
    whenListening(() => registerNode(metadata, config.nodeName))
  },
}
