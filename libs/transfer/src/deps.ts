import type { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import type { DiffDefinition } from '@flotilla/api/containerd/services/diff/v1/diff'
import type { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import type { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import type { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { LayersDefinition } from '@flotilla/api/flotilla/diff/v1/diff'
import type { DriversDefinition } from '@flotilla/api/flotilla/node/v1/node'
import type { Logger } from '@flotilla/log'
import type { RegistryClient } from '@flotilla/registry'
import type { ServiceOf } from '@flotilla/rpc'
import type { Turns } from '@flotilla/turns'
import type { Streams } from './streaming-service.ts'
import type { Unpackings } from './unpackings.ts'

export interface TransferDeps {
  readonly content: ServiceOf<typeof ContentDefinition>
  readonly diff: ServiceOf<typeof DiffDefinition>
  /** Of this node, as its drivers. */
  readonly layers: ServiceOf<typeof LayersDefinition>
  readonly drivers: ServiceOf<typeof DriversDefinition>
  readonly images: ServiceOf<typeof ImagesDefinition>
  readonly leases: ServiceOf<typeof LeasesDefinition>
  readonly snapshots: ServiceOf<typeof SnapshotsDefinition>
  readonly registry: RegistryClient
  readonly streams: Streams
  readonly logger: Logger
  /** Whoever fetches a blob or makes a snapshot takes its turn, so that it is done once. */
  readonly turns: Turns
  readonly unpackings: Unpackings
}

/** What a process gives its transfer service. */
export type GivenDeps = Omit<TransferDeps, 'turns' | 'unpackings'>
