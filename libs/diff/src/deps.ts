import type { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import type { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import type { LayerPool } from '@flotilla/layers'
import type { ServiceOf } from '@flotilla/rpc'
import type { StreamProcessor } from './processors.ts'

export interface DiffServiceDeps {
  readonly content: ServiceOf<typeof ContentDefinition>
  /** Of the same node as the content and as this process: blobs are read as files. */
  readonly blobs: ServiceOf<typeof LocalBlobsDefinition>
  /** The caller's, who closes it. */
  readonly pool: LayerPool
  /** A directory of this service alone, for temporary mounts and layers in the making. Made when it is absent. */
  readonly tmpDir: string
  /** Write the target's file system back after an Apply, as if the request had `sync_fs`; asked for each. */
  readonly syncFs?: () => boolean
  /** External programs for media types that are not read here, such as encrypted layers. */
  readonly processors?: readonly StreamProcessor[]
}
