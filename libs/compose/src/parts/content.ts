import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import { createContentService } from '@flotilla/content'
import { gaugeContent } from '../gauges.ts'
import type { Part } from '../part.ts'

export const content: Part = {
  name: 'content',
  serves: [ContentDefinition, LocalBlobsDefinition],
  async build({ config, metadata, metrics, own, serve, serveOnNode }) {
    const store = own(
      await createContentService({
        metadata,
        root: config.root,
        nodeName: config.nodeName,
        policy: config.sharingPolicy,
      }),
    )
    serve(ContentDefinition, store.content)
    gaugeContent({ config, metadata, metrics })
    serveOnNode(LocalBlobsDefinition, store.blobs)
  },
}
