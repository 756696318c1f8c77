import type { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import type { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import type { NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import type { ServiceOf } from '@flotilla/rpc'

export type NodeTasksClient = ServiceOf<typeof NodeTasksDefinition>

/** What the tasks service needs. */
export interface TasksDeps {
  readonly containers: ServiceOf<typeof ContainersDefinition>
  /** Where checkpoints are written to and read from. */
  readonly content: ServiceOf<typeof ContentDefinition>
  /** The tasks of a node; calls to a node that does not answer are UNAVAILABLE. */
  readonly node: (name: string) => NodeTasksClient
  /** Names of all nodes, answering or not. */
  readonly nodes: () => Promise<string[]>
  /** Whether a node was heard of lately; without it every node is asked. */
  readonly isReady?: (name: string) => Promise<boolean>
  /** The node that this service runs on, which containers without a node label belong to. */
  readonly localNode: string
  /**
   * Directory for checkpoints while they are restored; the system's own for temporary files by default. The node agent
   * clears ROOT/flotilla.node.v1.tasks/checkpoints of what a crash left.
   */
  readonly scratch?: string
}
