import { ControllerDefinition, StoreDefinition } from '@flotilla/api/containerd/services/sandbox/v1/sandbox'
import { NodeSandboxesDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { createSandboxController, createSandboxStore } from '@flotilla/sandboxes'
import type { Part } from '../part.ts'

export const sandboxes: Part = {
  name: 'sandboxes',
  serves: [StoreDefinition, ControllerDefinition],
  async build({ config, metadata, onNode, serve }) {
    const store = createSandboxStore({ metadata, nodeName: config.nodeName })
    serve(StoreDefinition, store)
    const node = (name: string) => onNode(NodeSandboxesDefinition, name)
    serve(ControllerDefinition, createSandboxController({ store, node, localNode: config.nodeName }))
  },
}
