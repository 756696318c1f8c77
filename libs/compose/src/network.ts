import { isIP } from 'node:net'
import type { Config } from '@flotilla/config'
import type { Logger } from '@flotilla/log'
import { connect, type ListenOptions, type LiveIdentity, type RpcServer, watchTlsIdentity } from '@flotilla/rpc'

/** How a process listens and connects: unix sockets plainly, TCP with mutual TLS as soon as it has a certificate. */
export interface Network extends AsyncDisposable {
  /** The certificate of this node, if it has one. */
  readonly tls: LiveIdentity | undefined
  /** The channel to an address: one for all who ask, closed with the network. */
  connect(address: string): ReturnType<typeof connect>
  /** Refuses what others could reach without showing a certificate. */
  listen(server: RpcServer, address: string): Promise<string>
}

/** The network of a process, whose certificates are read again when their files change. */
export function createNetwork(
  { address: node, cluster, socket }: Config,
  logger: Pick<Logger, 'info' | 'error'>,
): Network {
  const tls =
    cluster.tls.ca === ''
      ? undefined
      : watchTlsIdentity(
          { ...cluster.tls, revoked: cluster.revoked },
          {
            onChange: () => logger.info('certificates read again'),
            onError: (err) => logger.error({ err }, 'changed certificates cannot be used; the old ones hold'),
          },
        )
  const channels = new Map<string, ReturnType<typeof connect>>()
  const security = (address: string): ListenOptions => (isUnix(address) ? {} : { tls })
  return {
    tls,
    connect(address) {
      const channel = channels.get(address) ?? connect(address, security(address))
      channels.set(address, channel)
      return channel
    },
    async listen(server, address) {
      if (tls === undefined) onlyLocal(address)
      const isOwned = address === `unix://${node}` && (socket.uid !== 0 || socket.gid !== 0)
      return await server.listen(address, isOwned ? { owner: socket } : security(address))
    },
    async [Symbol.asyncDispose]() {
      tls?.[Symbol.dispose]()
      for (const channel of channels.values()) channel.close()
    },
  }
}

/** Throws an Error when an address that anybody may use without showing who they are can be reached from outside. */
export function onlyLocal(address: string): void {
  if (isUnix(address) || isLoopback(hostOf(address))) return
  throw new Error(
    `${address} can be reached from other machines: give cluster.ca, cluster.cert and cluster.key (see flotilla pki), or listen on 127.0.0.1`,
  )
}

const isUnix = (address: string) => address.startsWith('unix:')

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1')
}

function isLoopback(host: string): boolean {
  if (host === 'localhost') return true
  return isIP(host) === 4 ? host.startsWith('127.') : host === '::1'
}
