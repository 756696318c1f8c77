import { readFileSync } from 'node:fs'
import { toRpcError, unavailable } from '@flotilla/rpc'
import { type ConnectionOptions, connect, credsAuthenticator, type NatsConnection, nkeyAuthenticator } from 'nats'

export interface BusOptions {
  /** `nats://[user:password@]host:port` or `tls://…`, several separated by commas. */
  readonly url: string
  /** Files for an encrypted connection; each may be absent or empty. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string }
  /** File with a user JWT and its nkey seed, or with a seed alone. */
  readonly credentials?: string
  /** Shown in the server's list of connections. */
  readonly name: string
}

/** The connection to NATS. It reconnects by itself, for ever; what needs it meanwhile fails UNAVAILABLE. */
export interface Bus extends AsyncDisposable {
  readonly nats: NatsConnection
}

/** Connects, waiting up to ten seconds for the server. UNAVAILABLE when it does not answer. */
export async function createBus(options: BusOptions): Promise<Bus> {
  const servers = options.url.split(',').map((part) => new URL(part))
  const [first] = servers
  const security = { ...tlsOf(servers, options.tls), ...authenticatorOf(options.credentials) }
  const deadline = Date.now() + 10_000
  for (;;) {
    try {
      const nats = await connect({
        servers: servers.map((url) => url.host),
        name: options.name,
        ...security,
        ...(first?.username
          ? { user: decodeURIComponent(first.username), pass: decodeURIComponent(first.password) }
          : {}),
        // Of one attempt to connect: a cable that is plugged in again is not noticed by those that went out before.
        timeout: 2_000,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 100,
        reconnectJitter: 50,
        // A peer that vanished without a word is noticed after two of these.
        pingInterval: 2_000,
        maxPingOut: 2,
      })
      return {
        nats,
        async [Symbol.asyncDispose]() {
          await nats.close()
        },
      }
    } catch (error) {
      if (Date.now() > deadline) throw unavailable(`message bus: ${toRpcError(error).message}`, { cause: error })
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** Encrypts when the address or a file says so; a server that cannot is then refused. */
function tlsOf(servers: readonly URL[], files: BusOptions['tls'] = {}): Pick<ConnectionOptions, 'tls'> {
  const { ca, cert, key } = files
  if (servers.every(({ protocol }) => protocol !== 'tls:') && !ca && !cert) return {}
  return {
    tls: {
      ...(ca ? { caFile: ca } : {}),
      ...(cert && key ? { certFile: cert, keyFile: key } : {}),
    },
  }
}

function authenticatorOf(file: string | undefined): Pick<ConnectionOptions, 'authenticator'> {
  if (!file) return {}
  const text = readFileSync(file)
  const isSeed = /^SU[A-Z2-7]+\s*$/.test(text.toString())
  return {
    authenticator: isSeed
      ? nkeyAuthenticator(new TextEncoder().encode(text.toString().trim()))
      : credsAuthenticator(new Uint8Array(text)),
  }
}
