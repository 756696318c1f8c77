import { join } from 'node:path'
import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { LogsDefinition, NodeLogsDefinition, StdioDefinition } from '@flotilla/api/flotilla/stdio/v1/stdio'
import { tables } from '@flotilla/metadata'
import { createLogsService, createNodeLogs, createStdioService, sweepLogs } from '@flotilla/stdio'
import type { Part } from '../part.ts'

/** Milliseconds between two looks for logs of containers that are gone. */
const sweepInterval = 600_000

/** Standard streams over the network, and logs. */
export const stdio: Part = {
  name: 'stdio',
  serves: [StdioDefinition, LogsDefinition, NodeLogsDefinition],
  async build({ client, config, logger, metadata, onNode, own, serve, serveOnNode }) {
    serve(StdioDefinition, await createStdioService({ directory: join(config.state, 'io.flotilla.stdio.v1') }))
    const logs = join(config.root, 'io.flotilla.logs.v1')
    serveOnNode(NodeLogsDefinition, createNodeLogs({ directory: logs }))
    const sweep = () =>
      sweepLogs(
        logs,
        async (namespace, id) => (await metadata.get(namespace, tables.containers, id)) !== undefined,
      ).catch((error: unknown) => logger.warn({ err: error }, 'logs of deleted containers could not be removed'))
    const sweeping = setInterval(sweep, sweepInterval)
    own({ [Symbol.asyncDispose]: async () => clearInterval(sweeping) })
    await sweep()
    serve(
      LogsDefinition,
      createLogsService({
        containers: client(ContainersDefinition),
        tasks: client(TasksDefinition),
        node: (name) => onNode(NodeLogsDefinition, name),
        localNode: config.nodeName,
      }),
    )
  },
}
