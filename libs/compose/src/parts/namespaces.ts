import { NamespacesDefinition } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import { createNamespacesService } from '@flotilla/namespaces'
import type { Part } from '../part.ts'

export const namespaces: Part = {
  name: 'namespaces',
  serves: [NamespacesDefinition],
  async build({ metadata, serve }) {
    serve(NamespacesDefinition, createNamespacesService({ metadata }))
  },
}
