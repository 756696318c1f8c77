import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { createContainersService } from '@flotilla/containers'
import type { Part } from '../part.ts'

export const containers: Part = {
  name: 'containers',
  serves: [ContainersDefinition],
  async build({ config, metadata, serve }) {
    serve(ContainersDefinition, createContainersService({ metadata, nodeName: config.nodeName }))
  },
}
