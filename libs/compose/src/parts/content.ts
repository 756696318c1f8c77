import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import { createContentService } from '@flotilla/content'
import type { Part } from '../part.ts'

export const content: Part = {
  name: 'content',
  serves: [ContentDefinition, LocalBlobsDefinition],
  async build({ config, metadata, own, serve, serveOnNode }) {
    const store = own(
      await createContentService({
        metadata,
        root: config.root,
        nodeName: config.nodeName,
        policy: config.sharingPolicy,
      }),
    )
    serve(ContentDefinition, store.content)
    serveOnNode(LocalBlobsDefinition, store.blobs)
  },
}
