import { NodesDefinition } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { createNodesService } from '@flotilla/cluster'
import type { Part } from '../part.ts'

export const nodes: Part = {
  name: 'nodes',
  serves: [NodesDefinition],
  async build({ metadata, onNode, presence, serve }) {
    const tasks = (node: string) => onNode(NodeTasksDefinition, node)
    serve(NodesDefinition, createNodesService({ metadata, presence, tasks }))
  },
}
