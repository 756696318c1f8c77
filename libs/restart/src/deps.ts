import type { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import type { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import type { Logger } from '@flotilla/log'
import type { ServiceOf } from '@flotilla/rpc'

export interface RestartDeps {
  readonly containers: Pick<ServiceOf<typeof ContainersDefinition>, 'list' | 'update'>
  readonly tasks: Pick<ServiceOf<typeof TasksDefinition>, 'get' | 'create' | 'start' | 'kill' | 'wait' | 'delete'>
  readonly snapshots: Pick<ServiceOf<typeof SnapshotsDefinition>, 'mounts'>
  readonly namespaces: () => Promise<readonly string[]>
  /** How many changes there were in a namespace, ever. */
  readonly mutations: (namespace: string) => Promise<number>
  /** Only containers of this node are looked after; it must have one monitor only. */
  readonly nodeName: string
  /** Milliseconds between two looks. */
  readonly interval: () => number
  readonly logger: Logger
}
