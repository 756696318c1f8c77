import {
  type Call,
  internal,
  type MethodDefinition,
  methodsOf,
  type ServiceDefinition,
  type ServiceOf,
  toRpcError,
} from '@flotilla/rpc'
import type { ClientStream, TtrpcConnection } from './connection.ts'

const nothing = new Uint8Array(0)

/**
 * A service at the other end of a ttrpc connection, as the same interface that its maker implements. Errors are
 * RpcError with the server's code and text.
 */
export function ttrpcClientOf<D extends ServiceDefinition>(definition: D, connection: TtrpcConnection): ServiceOf<D> {
  const service: Record<string, unknown> = {}
  for (const [key, method] of methodsOf(definition)) service[key] = methodOf(definition, method, connection)
  return service as ServiceOf<D>
}

function methodOf(definition: ServiceDefinition, method: MethodDefinition, connection: TtrpcConnection) {
  const open = (request: unknown, call: Call): ClientStream => {
    const stream = connection.open(
      {
        service: definition.fullName,
        method: method.name,
        requestStream: method.requestStream,
        responseStream: method.responseStream,
        payload: method.requestStream ? nothing : method.requestType.encode(request).finish(),
      },
      call,
    )
    if (method.requestStream) void sendAll(request as AsyncIterable<unknown>, method, stream)
    return stream
  }
  if (method.responseStream) {
    return async function* (request: unknown, call: Call) {
      for await (const payload of open(request, call).answers) yield method.responseType.decode(payload)
    }
  }
  return async (request: unknown, call: Call) => {
    for await (const payload of open(request, call).answers) return method.responseType.decode(payload)
    throw internal(`${definition.fullName}/${method.name} ended without an answer`)
  }
}

async function sendAll(requests: AsyncIterable<unknown>, method: MethodDefinition, stream: ClientStream) {
  try {
    for await (const request of requests) await stream.send(method.requestType.encode(request).finish())
    stream.closeSend()
  } catch (error) {
    stream.abandon(toRpcError(error))
  }
}
