import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import { BlobsDefinition } from '@flotilla/api/flotilla/peer/v1/peer'
import { createContentService } from '@flotilla/content'
import { contentPeers } from '../content-peers.ts'
import { gaugeContent } from '../gauges.ts'
import type { Part } from '../part.ts'
import { pluginClient } from '../plugin-client.ts'
import { registryClient } from '../registry-client.ts'

/** Milliseconds between two looks whether there are as many copies of blobs as there should be. */
const copiesInterval = 60_000

export const content: Part = {
  name: 'content',
  serves: [ContentDefinition, LocalBlobsDefinition, BlobsDefinition],
  async build(host) {
    const { config, logger, metadata, metrics, own, serve, serveOnNode, serveToPeers } = host
    const registries = registryClient(host)
    const plugin = config.proxyPlugins.find(({ type }) => type === 'content')
    const store = own(
      await createContentService({
        metadata,
        root: config.root,
        nodeName: config.nodeName,
        policy: () => config.sharingPolicy,
        logger,
        plugin: plugin && pluginClient(host, ContentDefinition, plugin),
        peers: config.cluster.advertise === '' ? undefined : contentPeers(host, registries),
        copies: config.cluster.copies,
        copiesPolicy: { every: copiesInterval, pruneAfter: config.cluster.pruneAfterHours * 3_600_000 },
      }),
    )
    serve(ContentDefinition, store.content)
    gaugeContent({ config, metadata, metrics })
    serveOnNode(LocalBlobsDefinition, store.blobs)
    serveToPeers(BlobsDefinition, store.forPeers)
  },
}
