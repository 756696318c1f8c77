import { isPeerToken, type Presence, peerHeader, peerToken } from '@flotilla/cluster'
import { clusterSecret, type Metadata } from '@flotilla/metadata'
import {
  type Admit,
  type Call,
  clientOf,
  connect,
  methodsOf,
  type ServiceDefinition,
  type ServiceOf,
  type TlsIdentity,
  unauthenticated,
  unavailable,
  withCall,
} from '@flotilla/rpc'

/** Calls to what other nodes offer each other. */
export interface Peers extends AsyncDisposable {
  client<D extends ServiceDefinition>(definition: D, node: string): ServiceOf<D>
}

export function createPeers(metadata: Metadata, presence: Presence, tls: TlsIdentity | undefined): Peers {
  const channels = new Map<string, ReturnType<typeof connect>>()
  /** By the node's name, its address and the service. */
  const clients = new Map<string, object>()
  let secret: Buffer | undefined
  const learnSecret = () =>
    void clusterSecret(metadata).then(
      (known) => {
        secret = known
      },
      // Asked for again with the next call.
      () => {},
    )
  learnSecret()

  return {
    client(definition, node) {
      const address = presence.heard(node)?.advertise
      if (!address) throw unavailable(`node "${node}" has not said where it can be reached`)
      if (secret === undefined) {
        learnSecret()
        throw unavailable(`node "${node}": the secret of the cluster is not known yet`)
      }
      const place = `${node} ${address}`
      const made = clients.get(`${place} ${definition.fullName}`)
      if (made !== undefined) return made as ServiceOf<typeof definition>
      const known = secret
      const channel = channels.get(place) ?? connect(address, { tls, serverName: node })
      channels.set(place, channel)
      const plain = clientOf(definition, channel) as Record<string, (request: unknown, call: Call) => unknown>
      const signed: Record<string, unknown> = {}
      for (const [key] of methodsOf(definition))
        signed[key] = (request: unknown, call: Call) =>
          plain[key]?.(
            request,
            withCall(call, { metadata: new Map([...call.metadata, [peerHeader, peerToken(known, address)]]) }),
          )
      clients.set(`${place} ${definition.fullName}`, signed)
      return signed as ServiceOf<typeof definition>
    },
    async [Symbol.asyncDispose]() {
      for (const channel of channels.values()) channel.close()
    },
  }
}

/** Lets in only calls of nodes of the cluster. */
export function onlyPeers(secret: Buffer, address: string): Admit {
  return (call) => {
    if (!isPeerToken(secret, address, call.metadata.get(peerHeader) ?? ''))
      throw unauthenticated('this address is for nodes of the cluster')
    const { [peerHeader]: _, ...rest } = Object.fromEntries(call.metadata)
    return { call: withCall(call, { metadata: new Map(Object.entries(rest)) }) }
  }
}
