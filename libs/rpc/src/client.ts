import { type ChannelOptions, Client, type CallOptions as GrpcCallOptions } from '@grpc/grpc-js'
import type { Call } from './call.ts'
import { encoded } from './codec.ts'
import { type RpcError, status, toRpcError, unavailable } from './errors.ts'
import { maxMessageBytes } from './message-reader.ts'
import { toMetadata } from './metadata.ts'
import { type MessageSource, messagesOf } from './readable.ts'
import { type MethodDefinition, methodsOf, type ServiceDefinition, type ServiceOf } from './service.ts'
import { clientSecurity, type TlsIdentity } from './tls.ts'

const defaults: ChannelOptions = {
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_send_message_length': maxMessageBytes,
  'grpc-node.max_session_memory': Number.MAX_SAFE_INTEGER,
  // A service that was restarted should be found again at once, not after grpc's default two minutes.
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 1_000,
}

export interface ConnectOptions {
  /** Encrypts the channel and shows the server who calls. Without it the channel is plain. */
  readonly tls?: TlsIdentity | undefined
  /** The name to look for in the server's certificate; the address's host unless given. */
  readonly serverName?: string | undefined
}

/** Opens a channel to `unix:///path` or `host:port`. Close it with `close()`. */
export function connect(address: string, options: ConnectOptions = {}): Client {
  const security = clientSecurity({ tls: options.tls, address, serverName: options.serverName })
  return new Client(address.replace(/^unix:\/\//, 'unix:'), security.credentials, { ...defaults, ...security.options })
}

/** A server that is killed while it shuts down leaves calls without a status; grpc-js takes that for INTERNAL. */
function fromWire(error: unknown): RpcError {
  const mapped = toRpcError(error)
  return mapped.code === status.INTERNAL && /^Received RST_STREAM with code 0\b/.test(mapped.message)
    ? unavailable('the connection was lost', { cause: error })
    : mapped
}

function optionsOf(call: Call): GrpcCallOptions {
  return call.deadline === undefined ? {} : { deadline: call.deadline }
}

/** Ties a gRPC call to a signal; answers the function that unties it. */
function cancelWith(signal: AbortSignal, wire: { cancel(): void }): () => void {
  const onAbort = () => wire.cancel()
  if (signal.aborted) wire.cancel()
  signal.addEventListener('abort', onAbort, { once: true })
  return () => signal.removeEventListener('abort', onAbort)
}

async function send(
  requests: AsyncIterable<unknown>,
  wire: { write(value: unknown): boolean; end(): void; once(event: string, fn: () => void): void; cancel(): void },
  failed: (error: unknown) => void,
) {
  try {
    for await (const request of requests) {
      if (!wire.write(request))
        await new Promise<void>((resolve) => {
          wire.once('drain', resolve)
          wire.once('close', resolve)
          wire.once('end', resolve)
          wire.once('error', resolve)
        })
    }
    wire.end()
  } catch (error) {
    failed(error)
    wire.cancel()
  }
}

/** Iterates a readable gRPC call, giving errors their class and cancelling when the consumer leaves early. */
function receive(
  wire: MessageSource & { cancel(): void },
  untie: () => void,
  failure: () => unknown,
): AsyncGenerator<unknown> {
  const messages = messagesOf(wire)
  return answers()

  async function* answers() {
    let ended = false
    try {
      yield* messages
      ended = true
    } catch (error) {
      ended = true
      throw fromWire(failure() ?? error)
    } finally {
      untie()
      if (!ended) wire.cancel()
    }
  }
}

/**
 * A service at the other end of a channel, as the same interface that its maker implements. Errors are RpcError with
 * the server's code and text.
 */
export function clientOf<D extends ServiceDefinition>(definition: D, client: Client): ServiceOf<D> {
  const service: Record<string, unknown> = {}
  for (const [key, method] of methodsOf(definition)) service[key] = methodOf(definition, method, client)
  return service as ServiceOf<D>
}

function methodOf(definition: ServiceDefinition, method: MethodDefinition, client: Client) {
  const path = `/${definition.fullName}/${method.name}`
  const serialize = (value: unknown) => encoded(method.requestType, value)
  const deserialize = (bytes: Buffer) => method.responseType.decode(bytes)

  if (method.requestStream && method.responseStream) {
    return (requests: AsyncIterable<unknown>, call: Call) => {
      const wire = client.makeBidiStreamRequest(path, serialize, deserialize, toMetadata(call), optionsOf(call))
      let failure: unknown
      void send(requests, wire, (error) => {
        failure = error
      })
      return receive(wire, cancelWith(call.signal, wire), () => failure)
    }
  }
  if (method.responseStream) {
    return (request: unknown, call: Call) => {
      const wire = client.makeServerStreamRequest(
        path,
        serialize,
        deserialize,
        request,
        toMetadata(call),
        optionsOf(call),
      )
      return receive(wire, cancelWith(call.signal, wire), () => undefined)
    }
  }
  if (method.requestStream) {
    return (requests: AsyncIterable<unknown>, call: Call) =>
      new Promise((resolve, reject) => {
        let failure: unknown
        const wire = client.makeClientStreamRequest(
          path,
          serialize,
          deserialize,
          toMetadata(call),
          optionsOf(call),
          (error, answer) => {
            untie()
            if (error) reject(fromWire(failure ?? error))
            else resolve(answer)
          },
        )
        const untie = cancelWith(call.signal, wire)
        void send(requests, wire, (error) => {
          failure = error
        })
      })
  }
  return (request: unknown, call: Call) =>
    new Promise((resolve, reject) => {
      const wire = client.makeUnaryRequest(
        path,
        serialize,
        deserialize,
        request,
        toMetadata(call),
        optionsOf(call),
        (error, answer) => {
          untie()
          if (error) reject(fromWire(error))
          else resolve(answer)
        },
      )
      const untie = cancelWith(call.signal, wire)
    })
}

/**
 * Calls a method with messages as raw bytes, for a proxy that need not understand them. `path` is `/SERVICE/METHOD`.
 * Requests and answers are streams whatever the method's kind: a unary one has a single message each way.
 */
export function callRaw(
  client: Client,
  path: string,
  requests: AsyncIterable<Buffer>,
  call: Call,
): AsyncIterable<Buffer> {
  const same = (bytes: Buffer) => bytes
  const wire = client.makeBidiStreamRequest(path, same, same, toMetadata(call), optionsOf(call))
  let failure: unknown
  void send(requests, wire, (error) => {
    failure = error
  })
  return receive(wire, cancelWith(call.signal, wire), () => failure) as AsyncIterable<Buffer>
}
