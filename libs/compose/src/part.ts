import type { Bus } from '@flotilla/bus'
import type { Presence, Scheduler } from '@flotilla/cluster'
import type { Config } from '@flotilla/config'
import type { Logger } from '@flotilla/log'
import type { Metadata } from '@flotilla/metadata'
import type { Metrics } from '@flotilla/metrics'
import type { ServiceDefinition, ServiceOf } from '@flotilla/rpc'

/** What a part is given: the process's settings and connections, and the other services by their definitions. */
export interface Host {
  readonly config: Config
  readonly logger: Logger
  readonly metrics: Metrics
  readonly metadata: Metadata
  readonly bus: Bus
  /** Where shims and clients on this machine find the whole API. */
  readonly socket: string
  /** A program that takes `publish` and the daemon's flags, for shims. */
  readonly program: string
  /** Offers a service at this process's address and to the other parts. */
  serve<D extends ServiceDefinition>(definition: D, service: ServiceOf<D>): void
  /** As {@link Host.serve}, and takes the commands that reach this node over the bus. */
  serveOnNode<D extends ServiceDefinition>(definition: D, service: ServiceOf<D>): void
  /** A service wherever it runs. It may be asked for before it is served: calls look it up. */
  client<D extends ServiceDefinition>(definition: D): ServiceOf<D>
  /** A service of a node, this one or another. */
  onNode<D extends ServiceDefinition>(definition: D, node: string): ServiceOf<D>
  /** Offers a service to the other nodes, at this node's advertised address. */
  serveToPeers<D extends ServiceDefinition>(definition: D, service: ServiceOf<D>): void
  /** A service that a node offers to others. UNAVAILABLE, naming it, while the node has told nobody where it is. */
  onPeer<D extends ServiceDefinition>(definition: D, node: string): ServiceOf<D>
  /** Who is there. */
  readonly presence: Presence
  readonly schedule: Scheduler
  /** Closes a resource when the process ends, last owned first. */
  own<T extends AsyncDisposable>(resource: T): T
  /** Runs once the process listens; awaited before it is said to be ready. */
  whenListening(then: () => Promise<void>): void
}

/** One service as an ingredient of a process. */
export interface Part {
  /** Name of the app and of its address in the configuration. */
  readonly name: string
  /** What it serves; the gateway and other processes route by this. */
  readonly serves: readonly ServiceDefinition[]
  build(host: Host): Promise<void>
}
