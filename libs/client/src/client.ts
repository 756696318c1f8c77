import { connect, readTlsIdentity, type ServiceDefinition, type TlsIdentity } from '@flotilla/rpc'
import { type Caller, type CallSettings, callerOf, definedOf } from './caller.ts'
import { services } from './services.ts'

export interface ClientOptions {
  /** `unix:///path/of.sock` or `/path/of.sock` of a node, or `host:port` of a cluster's endpoint. */
  readonly address: string
  /** containerd namespace of calls that name none; `default` unless given. */
  readonly namespace?: string | undefined
  /** The node that calls are about which name none. Without it a socket's own node, or the scheduler's choice. */
  readonly node?: string | undefined
  /** For an endpoint: who we are and whom we trust, as PEM texts or as paths of their files. */
  readonly tls?:
    | TlsIdentity
    | { readonly caFile: string; readonly certFile: string; readonly keyFile: string }
    | undefined
  /** The name to look for in the endpoint's certificate, when it is not the one in the address. */
  readonly serverName?: string | undefined
}

/** Every service, and what they have in common. Dispose of it to close the connection. */
export type Client = { readonly [N in keyof typeof services]: Caller<(typeof services)[N]> } & {
  readonly options: ClientOptions
  /** A service that this package has no name for, by its generated definition. */
  service<D extends ServiceDefinition>(definition: D): Caller<D>
  /** The same connection with other settings: another namespace, node or lease. What is not given stays. */
  with(settings: CallSettings): Client
  close(): void
  [Symbol.dispose](): void
}

/**
 * Opens a client. The connection is made with the first call and made again whenever it breaks; calls that were under
 * way then fail UNAVAILABLE.
 *
 * @example
 * using client = createClient({ address: '/run/flotilla/containerd.sock' })
 * for (const image of (await client.images.list({})).images) console.log(image.name)
 */
export function createClient(options: ClientOptions): Client {
  const address = options.address.startsWith('/') ? `unix://${options.address}` : options.address
  const tls = options.tls && 'caFile' in options.tls ? readFiles(options.tls) : options.tls
  const channel = connect(address, { tls, serverName: options.serverName })
  return clientOver(channel, options, { namespace: options.namespace ?? 'default', node: options.node })
}

function readFiles(files: { caFile: string; certFile: string; keyFile: string }): TlsIdentity {
  return readTlsIdentity({ ca: files.caFile, cert: files.certFile, key: files.keyFile })
}

function clientOver(channel: ReturnType<typeof connect>, options: ClientOptions, defaults: CallSettings): Client {
  const made = new Map<ServiceDefinition, object>()
  const service = <D extends ServiceDefinition>(definition: D): Caller<D> => {
    const caller = made.get(definition) ?? callerOf(definition, channel, defaults)
    made.set(definition, caller)
    return caller as Caller<D>
  }
  const client = {
    options: { ...options, namespace: defaults.namespace, node: defaults.node },
    service,
    with: (settings: CallSettings) => clientOver(channel, options, { ...defaults, ...definedOf(settings) }),
    close: () => channel.close(),
    [Symbol.dispose]: () => channel.close(),
  }
  for (const [name, definition] of Object.entries(services))
    Object.defineProperty(client, name, { get: () => service(definition), enumerable: true })
  return client as unknown as Client
}
