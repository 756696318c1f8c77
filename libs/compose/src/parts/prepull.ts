import { StreamingDefinition } from '@flotilla/api/containerd/services/streaming/v1/streaming'
import { TransferDefinition } from '@flotilla/api/containerd/services/transfer/v1/transfer'
import { NodesDefinition } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { NodePrepullDefinition, PrepullDefinition } from '@flotilla/api/flotilla/cluster/v1/prepull'
import { createNodePrepull, createPrepullService } from '@flotilla/prepull'
import type { Part } from '../part.ts'

const architecture = process.arch === 'x64' ? 'amd64' : process.arch

/** Images on many nodes by one call. */
export const prepull: Part = {
  name: 'prepull',
  serves: [PrepullDefinition, NodePrepullDefinition],
  async build({ client, config, onNode, serve, serveOnNode }) {
    serveOnNode(
      NodePrepullDefinition,
      createNodePrepull({
        transfer: client(TransferDefinition),
        streaming: client(StreamingDefinition),
        nodeName: config.nodeName,
        platform: `linux/${architecture}`,
      }),
    )
    serve(
      PrepullDefinition,
      createPrepullService({
        nodes: async (labelSelectors, call) =>
          (await client(NodesDefinition).list({ labelSelectors: [...labelSelectors] }, call)).nodes,
        node: (name) => onNode(NodePrepullDefinition, name),
      }),
    )
  },
}
