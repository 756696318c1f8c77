import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { DiffDefinition } from '@flotilla/api/containerd/services/diff/v1/diff'
import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { StreamingDefinition } from '@flotilla/api/containerd/services/streaming/v1/streaming'
import { TransferDefinition } from '@flotilla/api/containerd/services/transfer/v1/transfer'
import { LayersDefinition } from '@flotilla/api/flotilla/diff/v1/diff'
import { DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { createStreams, createTransferService } from '@flotilla/transfer'
import type { Part } from '../part.ts'
import { registryClient } from '../registry-client.ts'

export const transfer: Part = {
  name: 'transfer',
  serves: [TransferDefinition, StreamingDefinition],
  async build(host) {
    const { client, config, logger, onNode, serve } = host
    const registry = registryClient(host)
    const streams = createStreams()
    serve(StreamingDefinition, streams.service)
    const service = createTransferService({
      content: client(ContentDefinition),
      diff: client(DiffDefinition),
      layers: client(LayersDefinition),
      drivers: onNode(DriversDefinition, config.nodeName),
      images: client(ImagesDefinition),
      leases: client(LeasesDefinition),
      snapshots: client(SnapshotsDefinition),
      registry,
      streams,
      logger,
    })
    serve(TransferDefinition, service)
  },
}
