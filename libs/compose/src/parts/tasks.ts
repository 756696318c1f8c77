import { join } from 'node:path'
import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { nodeNames } from '@flotilla/metadata'
import { createTasksService } from '@flotilla/tasks'
import type { Part } from '../part.ts'

export const tasks: Part = {
  name: 'tasks',
  serves: [TasksDefinition],
  async build({ client, config, metadata, onNode, presence, serve }) {
    const service = createTasksService({
      containers: client(ContainersDefinition),
      content: client(ContentDefinition),
      node: (name) => onNode(NodeTasksDefinition, name),
      nodes: () => nodeNames(metadata),
      isReady: (name) => presence.isReady(name),
      localNode: config.nodeName,
      scratch: join(config.root, 'flotilla.node.v1.tasks/checkpoints'),
    })
    serve(TasksDefinition, service)
  },
}
