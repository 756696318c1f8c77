import { IntrospectionDefinition } from '@flotilla/api/containerd/services/introspection/v1/introspection'
import { VersionDefinition } from '@flotilla/api/containerd/services/version/v1/version'
import { DriversDefinition, NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { createIntrospectionService, createVersionService } from '@flotilla/introspection'
import type { Part } from '../part.ts'

export const introspection: Part = {
  name: 'introspection',
  serves: [IntrospectionDefinition, VersionDefinition],
  async build({ config, onNode, serve }) {
    serve(
      IntrospectionDefinition,
      await createIntrospectionService({
        config,
        drivers: onNode(DriversDefinition, config.nodeName),
        tasks: onNode(NodeTasksDefinition, config.nodeName),
      }),
    )
    serve(VersionDefinition, createVersionService())
  },
}
