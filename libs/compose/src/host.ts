import { type Bus, commandClient, serveCommands } from '@flotilla/bus'
import { createPresence, createScheduler } from '@flotilla/cluster'
import { clientOf, methodsOf, type RpcServer, type ServiceDefinition, type ServiceOf, unavailable } from '@flotilla/rpc'
import { partOf } from './directory.ts'
import type { Network } from './network.ts'
import type { Host } from './part.ts'
import { createPeers } from './peers.ts'

export type HostOptions = Pick<Host, 'config' | 'logger' | 'metrics' | 'metadata' | 'socket' | 'program'> & {
  readonly bus: Bus
  readonly server: RpcServer
  readonly network: Network
  /** Listens where other nodes call, when this process does so. */
  readonly peerServer?: RpcServer | undefined
}

/** A host whose process is going to listen with `server`. Disposing it closes what the parts own, last owned first. */
export function createHost(options: HostOptions): Host & AsyncDisposable & { listening(): Promise<void> } {
  const { bus, config, network, server } = options
  const local = new Map<string, object>()
  const remote = new Map<string, object>()
  const owned = new AsyncDisposableStack()
  const waiting: Array<() => Promise<void>> = []
  const presence = owned.use(createPresence({ nats: bus.nats, metadata: options.metadata }))
  const peers = owned.use(createPeers(options.metadata, presence, network.tls))

  function overGrpc(definition: ServiceDefinition): object {
    const known = remote.get(definition.fullName)
    if (known) return known
    const name = partOf(definition.fullName)?.name ?? definition.fullName
    const address = config.services[name]
    if (address === undefined) throw unavailable(`service "${name}" has no address in the configuration`)
    const service = clientOf(definition, network.connect(address))
    remote.set(definition.fullName, service)
    return service
  }

  /** A service that is looked up at each call, so that parts may be built in any order. */
  function late<D extends ServiceDefinition>(definition: D, find: () => object): ServiceOf<D> {
    const service: Record<string, unknown> = {}
    for (const [key, method] of methodsOf(definition)) {
      const target = () => find() as Record<string, (...args: unknown[]) => unknown>
      service[key] = (...args: unknown[]) => {
        try {
          return target()[key]?.(...args)
        } catch (error) {
          if (method.responseStream) throw error
          return Promise.reject(error)
        }
      }
    }
    return service as ServiceOf<D>
  }

  const host: Host = {
    ...options,
    serve(definition, service) {
      local.set(definition.fullName, service)
      server.add(definition, service)
    },
    serveOnNode(definition, service) {
      host.serve(definition, service)
      host.own(serveCommands(bus.nats, config.nodeName, definition, service))
    },
    client(definition) {
      return late(definition, () => local.get(definition.fullName) ?? overGrpc(definition))
    },
    onNode(definition, node) {
      const byBus = commandClient(bus.nats, node, definition)
      if (node !== config.nodeName) return byBus
      return late(definition, () => local.get(definition.fullName) ?? byBus)
    },
    serveToPeers(definition, service) {
      host.serve(definition, service)
      options.peerServer?.add(definition, service)
    },
    onPeer: (definition, node) => late(definition, () => peers.client(definition, node)),
    presence,
    schedule: createScheduler(presence),
    own: (resource) => owned.use(resource),
    whenListening(then) {
      waiting.push(then)
    },
  }
  return {
    ...host,
    async listening() {
      for (const then of waiting) await then()
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
