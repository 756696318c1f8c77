import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import { CollectorDefinition } from '@flotilla/api/flotilla/gc/v1/gc'
import { DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { createCollector } from '@flotilla/gc'
import { createLeasesService } from '@flotilla/leases'
import { nodeNames } from '@flotilla/metadata'
import type { Part } from '../part.ts'

/** Leases and the garbage collection that they hold back: one deployable, since each is idle without the other. */
export const leases: Part = {
  name: 'leases',
  serves: [LeasesDefinition, CollectorDefinition],
  async build({ config, metadata, logger, onNode, own, presence, serve }) {
    const collector = own(
      createCollector({
        metadata,
        nodes: () => nodeNames(metadata),
        isReady: (node) => presence.isReady(node),
        content: (node) => onNode(LocalBlobsDefinition, node),
        drivers: (node) => onNode(DriversDefinition, node),
        settings: config.gc,
        logger,
      }),
    )
    serve(CollectorDefinition, collector)
    serve(LeasesDefinition, createLeasesService({ metadata, collector }))
  },
}
