import type { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import type { Mount } from '@flotilla/api/containerd/types/types'
import type { Logger } from '@flotilla/log'
import type { Call, ServiceOf } from '@flotilla/rpc'

/** Makes what shims cannot mount of root file systems: templates, loop devices, directories to be made first. */
export interface RootfsMounts {
  /**
   * Makes the mounts that a task's root file system lies upon. Gives what is left for the shim to mount, and whether
   * anything was made now; it was not when no mount needs it, or when it is there from before.
   */
  prepare(id: string, rootfs: readonly Mount[], call: Call): Promise<PreparedRootfs>
  /** Undoes that once the root file system is gone. No error when there is nothing to undo. */
  release(id: string, call: Call): Promise<void>
}

export interface PreparedRootfs {
  readonly rootfs: readonly Mount[]
  readonly made: boolean
}

/** What the tasks of a node need. */
export interface NodeTasksDeps {
  /** Directory for what must survive a reboot: the journal of events, the work directories of shims. */
  readonly root: string
  /** Directory for what lives until the next reboot: the bundles. */
  readonly state: string
  /** Path of the node socket. Shims derive their own sockets from it, so two instances need different ones. */
  readonly grpcAddress: string
  /** Path of the ttrpc socket, served here, that shims send their events to. At most 107 bytes. */
  readonly ttrpcAddress: string
  /** Program that takes `-address SOCKET publish --topic T --namespace N` with an Any on stdin. */
  readonly publishBinary: string
  /** Takes the events of the shims, each with metadata `flotilla-event-id: NODE/SEQUENCE`. */
  readonly events: ServiceOf<typeof EventsDefinition>
  /** Without it root file systems go to shims as they are. */
  readonly rootfsMounts?: RootfsMounts
  readonly nodeName: string
  readonly logger: Logger
  /** Where shims of containerd 2.3 and later make their sockets; older ones know only /run/containerd/s. */
  readonly shimSocketDir?: string
  /** Makes shims log more. */
  readonly debug?: boolean
  /** Environment of the shims; its PATH is where their binaries are looked up. This process's own by default. */
  readonly env?: NodeJS.ProcessEnv
}
