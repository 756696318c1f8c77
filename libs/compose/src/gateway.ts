import { callRaw, type RpcServer, type ServiceDefinition, unavailable } from '@flotilla/rpc'
import type { Network } from './network.ts'
import { parts } from './parts/index.ts'

// Commands of nodes and what services ask of each other are not passed on; the event log is.
const inner = [
  'flotilla.node.',
  'flotilla.gc.',
  'flotilla.content.',
  'flotilla.diff.',
  'flotilla.peer.',
  'flotilla.stdio.v1.NodeLogs',
  'flotilla.cluster.v1.NodePrepull',
]

/** Whether a service is for other nodes. */
export const isForPeers = (definition: ServiceDefinition) => definition.fullName.startsWith('flotilla.peer.')

/** Whether a gateway passes a service on. */
export function isForClients(definition: ServiceDefinition): boolean {
  return !inner.some((prefix) => definition.fullName.startsWith(prefix))
}

/**
 * Routes every service that this process does not serve itself to the process that does, by service name, message bytes
 * untouched; those for clients, or with `passes` others.
 */
export function routeToServices(
  server: RpcServer,
  addresses: Readonly<Record<string, string>>,
  network: Network,
  here: ReadonlySet<string>,
  passes: (definition: ServiceDefinition) => boolean = isForClients,
): void {
  const channelOf = (name: string) => {
    const address = addresses[name]
    if (address === undefined) throw unavailable(`service "${name}" has no address in the configuration`)
    return network.connect(address)
  }
  for (const part of parts) {
    for (const definition of part.serves) {
      if (here.has(definition.fullName) || !passes(definition)) continue
      server.addRaw(definition, (method, requests, call) => callRaw(channelOf(part.name), method.path, requests, call))
    }
  }
}
