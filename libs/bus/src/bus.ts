import { toRpcError, unavailable } from '@flotilla/rpc'
import { connect, type NatsConnection } from 'nats'

export interface BusOptions {
  /** `nats://[user:password@]host:port`, several separated by commas. */
  readonly url: string
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
  const deadline = Date.now() + 10_000
  for (;;) {
    try {
      const nats = await connect({
        servers: servers.map((url) => url.host),
        name: options.name,
        ...(first?.username
          ? { user: decodeURIComponent(first.username), pass: decodeURIComponent(first.password) }
          : {}),
        maxReconnectAttempts: -1,
        reconnectTimeWait: 100,
        reconnectJitter: 50,
        // A peer that vanished without a word is noticed after two of these.
        pingInterval: 5_000,
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
