import { canceled, invalidArgument, methodsOf, type ServiceDefinition, type ServiceOf, toRpcError } from '@flotilla/rpc'
import type { Msg, MsgHdrs, NatsConnection } from 'nats'
import { callFromHeaders, commandHeader, failureHeaders, stateHeaders } from './headers.ts'
import { cancelSubject, commandSubject } from './subject.ts'

/** Milliseconds between two signs of life of a command that is being carried out. */
export const heartbeatInterval = 1_000

type Handler = (request: unknown, call: ReturnType<typeof callFromHeaders>) => Promise<unknown>

/**
 * Takes the commands for a service on a node. Only unary methods travel over the bus. Several services of one node are
 * served by calling this for each. Disposing it stops taking commands; running ones are aborted.
 */
export function serveCommands<D extends ServiceDefinition>(
  nats: NatsConnection,
  node: string,
  definition: D,
  service: ServiceOf<D>,
): AsyncDisposable {
  const running = new Map<string, AbortController>()
  const implementation = service as Record<string, Handler>
  const subscriptions = methodsOf(definition)
    .filter(([, method]) => !method.requestStream && !method.responseStream)
    .map(([key, method]) =>
      nats.subscribe(commandSubject(node, definition.fullName, method.name), {
        callback: (error, message) => {
          if (!error) void carryOut(key, message)
        },
      }),
    )
  subscriptions.push(
    nats.subscribe(cancelSubject(node), {
      callback: (error, message) => {
        if (!error) running.get(message.string())?.abort(canceled('the caller ended the call'))
      },
    }),
  )
  const methods = new Map(methodsOf(definition))

  async function carryOut(key: string, message: Msg): Promise<void> {
    const method = methods.get(key)
    const handler = implementation[key]
    if (!method || !handler) return
    const command = message.headers?.get(commandHeader) ?? ''
    const controller = new AbortController()
    running.set(command, controller)
    // A connection that was closed meanwhile has nobody to answer.
    const respond = (bytes: Uint8Array | undefined, headers: MsgHdrs) => {
      if (!nats.isClosed()) message.respond(bytes, { headers })
    }
    const heartbeat = setInterval(() => respond(undefined, stateHeaders('working')), heartbeatInterval)
    try {
      const request = decode(() => method.requestType.decode(message.data), definition, method.name)
      const answer = await handler.call(service, request, callFromHeaders(message.headers, controller.signal))
      respond(method.responseType.encode(answer).finish(), stateHeaders('done'))
    } catch (error) {
      respond(undefined, failureHeaders(toRpcError(error)))
    } finally {
      clearInterval(heartbeat)
      running.delete(command)
    }
  }

  return {
    async [Symbol.asyncDispose]() {
      for (const subscription of subscriptions) subscription.unsubscribe()
      for (const controller of running.values()) controller.abort(canceled('the node is stopping'))
    },
  }
}

function decode(read: () => unknown, definition: ServiceDefinition, method: string): unknown {
  try {
    return read()
  } catch (error) {
    throw invalidArgument(`${definition.name}.${method}: the request cannot be read`, { cause: error })
  }
}
