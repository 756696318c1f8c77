import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { DiffDefinition } from '@flotilla/api/containerd/services/diff/v1/diff'
import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { IntrospectionDefinition } from '@flotilla/api/containerd/services/introspection/v1/introspection'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { MountsDefinition } from '@flotilla/api/containerd/services/mounts/v1/mounts'
import { NamespacesDefinition } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import { ControllerDefinition, StoreDefinition } from '@flotilla/api/containerd/services/sandbox/v1/sandbox'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { StreamingDefinition } from '@flotilla/api/containerd/services/streaming/v1/streaming'
import { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { TransferDefinition } from '@flotilla/api/containerd/services/transfer/v1/transfer'
import { VersionDefinition } from '@flotilla/api/containerd/services/version/v1/version'
import { NodesDefinition } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { PrepullDefinition } from '@flotilla/api/flotilla/cluster/v1/prepull'
import { LogDefinition } from '@flotilla/api/flotilla/events/v1/events'
import { LogsDefinition, StdioDefinition } from '@flotilla/api/flotilla/stdio/v1/stdio'
import { HealthDefinition } from '@flotilla/api/grpc/health/v1/health'

/** Every service of the API by the name that it has on a client: containerd's, then flotilla's own. */
export const services = {
  containers: ContainersDefinition,
  content: ContentDefinition,
  diff: DiffDefinition,
  events: EventsDefinition,
  images: ImagesDefinition,
  introspection: IntrospectionDefinition,
  leases: LeasesDefinition,
  mounts: MountsDefinition,
  namespaces: NamespacesDefinition,
  sandboxes: StoreDefinition,
  sandboxController: ControllerDefinition,
  snapshots: SnapshotsDefinition,
  streaming: StreamingDefinition,
  tasks: TasksDefinition,
  transfer: TransferDefinition,
  version: VersionDefinition,
  health: HealthDefinition,
  nodes: NodesDefinition,
  prepull: PrepullDefinition,
  eventLog: LogDefinition,
  stdio: StdioDefinition,
  logs: LogsDefinition,
} as const
