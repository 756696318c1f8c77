import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { createSnapshotsService } from '@flotilla/snapshots'
import type { Part } from '../part.ts'

export const snapshots: Part = {
  name: 'snapshots',
  serves: [SnapshotsDefinition],
  async build({ config, metadata, onNode, schedule, serve }) {
    const drivers = (node: string) => onNode(DriversDefinition, node)
    serve(SnapshotsDefinition, createSnapshotsService({ metadata, drivers, localNode: config.nodeName, schedule }))
  },
}
