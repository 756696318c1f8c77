import type { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import type { Logger } from '@flotilla/log'
import type { ServiceOf } from '@flotilla/rpc'

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
  readonly nodeName: string
  readonly logger: Logger
  /** Where shims of containerd 2.3 and later make their sockets; older ones know only /run/containerd/s. */
  readonly shimSocketDir?: string
  /** Makes shims log more. */
  readonly debug?: boolean
  /** Environment of the shims; its PATH is where their binaries are looked up. This process's own by default. */
  readonly env?: NodeJS.ProcessEnv
}
