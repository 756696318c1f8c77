import { randomUUID } from 'node:crypto'
import {
  type Call,
  deadlineExceeded,
  type MethodDefinition,
  methodsOf,
  nodeAway,
  type ServiceDefinition,
  type ServiceOf,
  unavailable,
} from '@flotilla/rpc'
import { createInbox, ErrorCode, type Msg, type NatsConnection, NatsError } from 'nats'
import { heartbeatInterval } from './command-server.ts'
import { callHeaders, failureOf, stateHeader } from './headers.ts'
import { cancelSubject, commandSubject } from './subject.ts'

/** Milliseconds without an answer or a sign of life after which a node counts as gone. */
const silenceLimit = 2.7 * heartbeatInterval

/**
 * A service of another node, called over the bus. A node that nobody listens for is UNAVAILABLE at once, one that falls
 * silent for three seconds, both naming it; a long command keeps going as long as the node says that it works.
 */
export function commandClient<D extends ServiceDefinition>(
  nats: NatsConnection,
  node: string,
  definition: D,
): ServiceOf<D> {
  const service: Record<string, unknown> = {}
  for (const [key, method] of methodsOf(definition)) {
    if (method.requestStream || method.responseStream) continue
    service[key] = (request: unknown, call: Call) => command(nats, node, definition, method, request, call)
  }
  return service as ServiceOf<D>
}

function command(
  nats: NatsConnection,
  node: string,
  definition: ServiceDefinition,
  method: MethodDefinition,
  request: unknown,
  call: Call,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    if (call.signal.aborted) return reject(call.signal.reason)
    const id = randomUUID()
    let timer: NodeJS.Timeout | undefined
    let lastLook: NodeJS.Immediate | undefined
    const stopWatching = () => {
      clearTimeout(timer)
      clearImmediate(lastLook)
    }
    const settle = (finish: () => void) => {
      stopWatching()
      call.signal.removeEventListener('abort', onAbort)
      inbox.unsubscribe()
      finish()
    }
    const giveUp = () => {
      const late = call.deadline !== undefined && Date.now() >= call.deadline
      nats.publish(cancelSubject(node), id)
      settle(() =>
        reject(
          late
            ? deadlineExceeded(`node "${node}"`)
            : unavailable(`node "${node}" does not answer`, { reason: nodeAway }),
        ),
      )
    }
    const watch = () => {
      stopWatching()
      const left = call.deadline === undefined ? Number.POSITIVE_INFINITY : call.deadline - Date.now()
      // Timers come before sockets: when it was this process that did nothing for so long, the answer is still to be read.
      timer = setTimeout(
        () => {
          lastLook = setImmediate(giveUp)
        },
        Math.max(0, Math.min(silenceLimit, left)),
      )
    }
    const onAbort = () => {
      if (!nats.isClosed()) nats.publish(cancelSubject(node), id)
      settle(() => reject(call.signal.reason))
    }
    const reply = createInbox()
    const inbox = nats.subscribe(reply, {
      callback: (error, message: Msg) => {
        if (error) return settle(() => reject(unavailable(`node "${node}": ${error.message}`, { cause: error })))
        if (message.headers?.code === 503)
          return settle(() => reject(unavailable(`node "${node}" is not there`, { reason: nodeAway })))
        const state = message.headers?.get(stateHeader)
        if (state === 'working') return watch()
        if (state === 'failed' && message.headers) {
          const failure = failureOf(message.headers)
          return settle(() => reject(failure))
        }
        settle(() => resolve(method.responseType.decode(message.data)))
      },
    })
    call.signal.addEventListener('abort', onAbort, { once: true })
    watch()
    try {
      nats.publish(
        commandSubject(node, definition.fullName, method.name),
        method.requestType.encode(request).finish(),
        {
          reply,
          headers: callHeaders(call, id),
        },
      )
    } catch (error) {
      const why =
        error instanceof NatsError && error.code === ErrorCode.MaxPayloadExceeded
          ? 'the request is larger than the message bus takes'
          : String(error)
      settle(() => reject(unavailable(`node "${node}": ${why}`, { cause: error })))
    }
  })
}
