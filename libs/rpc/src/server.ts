import { chmod, mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import {
  Server,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { type Admit, type Caller, plainly } from './admission.ts'

import type { Call } from './call.ts'
import { checked, checkedOne, filtered, filteredOne, within } from './checked.ts'
import { type Codec, rawCodec, typedCodec } from './codec.ts'
import { errorMetadata, status, toRpcError, unauthenticated, unavailable, unimplemented } from './errors.ts'
import { messagesOf } from './readable.ts'
import { type AnyServerCall, callOf, pump, waitOf } from './running-call.ts'
import { type MethodDefinition, methodsOf, type ServiceDefinition } from './service.ts'
import { serverCredentials, type TlsIdentity } from './tls.ts'

/** Largest message in either direction, bytes; containerd's own limit. */
export const maxMessageBytes = 16 * 1024 * 1024

/** Milliseconds for the words that a call was cut to reach its client. */
const cutLimit = 500

/** One finished call, for logs and metrics. */
export interface CallRecord {
  readonly service: string
  readonly method: string
  readonly namespace: string | undefined
  /** gRPC status code. */
  readonly code: number
  readonly message: string | undefined
  /** Milliseconds. */
  readonly duration: number
}

export type CallObserver = (record: CallRecord) => void

export interface RpcServerOptions {
  /** Told of every finished call. */
  readonly observe?: CallObserver
  /** Decides on each call before its method sees it, and completes it, e.g. with the node whose socket it came through. */
  readonly admit?: Admit
}

export interface ListenOptions {
  /** Listens with TLS and lets in only callers whose certificate one of the authorities made. */
  readonly tls?: TlsIdentity | undefined
}

export interface RpcServer extends AsyncDisposable {
  /** Registers a service. Call it before {@link RpcServer.listen}. */
  add<D extends ServiceDefinition>(definition: D, service: object): void
  /**
   * Registers a service whose messages pass through undecoded, for a proxy: every method becomes
   * `(method path, raw requests, call) → raw answers`.
   */
  addRaw(definition: ServiceDefinition, handle: RawHandler): void
  /**
   * Listens on `unix:///path` (made with mode 0660, an abandoned socket file is replaced) or `host:port` (port 0 picks
   * one). Answers the address that clients can use. A server may listen on several addresses.
   */
  listen(address: string, options?: ListenOptions): Promise<string>
  /** Stops taking calls, gives running ones this many milliseconds, then ends them with UNAVAILABLE. */
  close(graceMs?: number): Promise<void>
}

export type RawHandler = (
  method: { path: string; requestStream: boolean; responseStream: boolean },
  requests: AsyncIterable<Buffer>,
  call: Call,
) => AsyncIterable<Buffer>

type Handler = (request: unknown, call: Call) => unknown

/** A method as it is offered; one that passes bytes on is a stream both ways whatever its kind. */
interface Registration {
  readonly definition: ServiceDefinition
  readonly key: string
  readonly method: MethodDefinition
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly handler: Handler
  readonly codec: Codec
}

/**
 * Makes a gRPC server for services of the {@link ServiceOf} shape. Errors thrown by a method are mapped in one place
 * (`toRpcError`).
 */
export function createRpcServer(options: RpcServerOptions = {}): RpcServer {
  const registered: Registration[] = []
  const servers: Server[] = []
  const sockets: string[] = []
  const running = new Set<AbortController>()
  const admit = options.admit ?? plainly

  /** Who calls, by the listener's kind: a connection that is breaking has no certificate any more, and is no plain one. */
  function callerOf(from: AnyServerCall, tls: TlsIdentity | undefined): Caller {
    if (tls === undefined) return { certificate: undefined }
    const certificate = from.getAuthContext().sslPeerCertificate
    if (certificate === undefined) throw unauthenticated('the connection shows no certificate')
    if (tls.isRevoked?.(certificate.serialNumber))
      throw unauthenticated(`the certificate ${certificate.serialNumber} is revoked`)
    return { certificate }
  }

  function wrap(registration: Registration, tls: TlsIdentity | undefined) {
    const { definition, method, handler, requestStream, responseStream } = registration

    /** Admits a call, then has it answered; `answer` may find the client gone. */
    async function carryOut(from: AnyServerCall, answer: (result: unknown, call: Call) => Promise<void>) {
      const controller = new AbortController()
      let call = callOf(from, controller)
      const started = performance.now()
      const finish = (code: number, message?: string) =>
        options.observe?.({
          service: definition.fullName,
          method: method.name,
          namespace: call.namespace,
          code,
          message,
          duration: performance.now() - started,
        })
      running.add(controller)
      try {
        const admission = within(registration, admit(call, { definition, method }, callerOf(from, tls)))
        call = admission.call
        const request = requestStream
          ? checked(messagesOf(from as ServerDuplexStream<unknown, unknown>), admission)
          : checkedOne((from as ServerUnaryCall<unknown, unknown>).request, admission)
        const result = handler(request, call)
        await answer(
          responseStream ? filtered(result as AsyncIterable<unknown>, admission) : filteredOne(result, admission),
          call,
        )
        finish(status.OK)
        return undefined
      } catch (error) {
        const failure = toRpcError(error)
        const { code, message, name } = failure
        finish(code, message)
        return { code, details: message, message, name, metadata: errorMetadata(failure) }
      } finally {
        running.delete(controller)
      }
    }

    if (responseStream) {
      return async (from: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>) => {
        const failed = await carryOut(from, (answers, call) =>
          pump(answers as AsyncIterable<unknown>, from, call.signal),
        )
        if (failed) from.emit('error', failed)
        else from.end()
      }
    }
    return async (
      from: ServerUnaryCall<unknown, unknown> | ServerReadableStream<unknown, unknown>,
      respond: sendUnaryData<unknown>,
    ) => {
      let response: unknown
      const failed = await carryOut(from, async (answer, call) => {
        using wait = waitOf(call.signal)
        response = await wait.for(answer)
      })
      if (failed) respond(failed)
      else respond(null, response)
    }
  }

  function makeServer(tls: TlsIdentity | undefined): Server {
    const server = newServer()
    for (const [definition, ofService] of Map.groupBy(registered, ({ definition }) => definition)) {
      const specs: Record<string, object> = {}
      const handlers: Record<string, unknown> = {}
      for (const registration of ofService) {
        const { key, method, requestStream, responseStream, codec } = registration
        specs[key] = { path: `/${definition.fullName}/${method.name}`, requestStream, responseStream, ...codec }
        handlers[key] = wrap(registration, tls)
      }
      server.addService(specs as never, handlers as UntypedServiceImplementation)
    }
    servers.push(server)
    return server
  }

  /** Resolves when a server has ended, at the latest when its grace is over. */
  function shutDown(server: Server, graceMs: number): Promise<void> {
    return new Promise((resolve) => {
      let timer = setTimeout(() => {
        for (const controller of running) controller.abort(unavailable('the server is stopping'))
        timer = setTimeout(() => {
          server.forceShutdown()
          resolve()
        }, cutLimit)
      }, graceMs)
      server.tryShutdown(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  return {
    add(definition, service) {
      const implementation = service as Record<string, Handler | undefined>
      for (const [key, method] of methodsOf(definition)) {
        const { requestStream, responseStream } = method
        const handler =
          implementation[key]?.bind(service) ??
          (() => Promise.reject(unimplemented(`${definition.fullName}.${method.name}`)))
        registered.push({ definition, key, method, requestStream, responseStream, handler, codec: typedCodec(method) })
      }
    },
    addRaw(definition, handle) {
      for (const [key, method] of methodsOf(definition)) {
        const { requestStream, responseStream } = method
        const about = { path: `/${definition.fullName}/${method.name}`, requestStream, responseStream }
        const handler: Handler = (requests, call) => handle(about, requests as AsyncIterable<Buffer>, call)
        registered.push({
          definition,
          key,
          method,
          requestStream: true,
          responseStream: true,
          handler,
          codec: rawCodec,
        })
      }
    },
    async listen(address, { tls } = {}) {
      const path = address.startsWith('unix:') ? address.replace(/^unix:(\/\/)?/, '') : undefined
      if (path !== undefined) {
        await mkdir(dirname(path), { recursive: true, mode: 0o711 })
        await rm(path, { force: true })
      }
      const server = makeServer(tls)
      const port = await new Promise<number>((resolve, reject) => {
        server.bindAsync(path === undefined ? address : `unix:${path}`, serverCredentials(tls), (error, bound) =>
          error ? reject(error) : resolve(bound),
        )
      })
      if (path !== undefined) {
        await chmod(path, 0o660)
        sockets.push(path)
        return `unix://${path}`
      }
      return `${address.slice(0, address.lastIndexOf(':'))}:${port}`
    },
    async close(graceMs = 2_000) {
      await Promise.all(servers.map((server) => shutDown(server, graceMs)))
      await Promise.all(sockets.map((path) => rm(path, { force: true })))
    },
    async [Symbol.asyncDispose]() {
      await this.close()
    },
  }
}

function newServer(): Server {
  const server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc-node.max_session_memory': Number.MAX_SAFE_INTEGER,
    'grpc.max_concurrent_streams': 10_000,
  })
  // Node ends a connection whose client resets more than 33 streams a second for long. Go clients of the content API
  // cancel a stream for each buffer they filled, so that limit must not meet them. grpc-js has no option for it.
  const tuned = server as unknown as { commonServerOptions: Record<string, unknown> }
  tuned.commonServerOptions.streamResetBurst = 1_000_000
  tuned.commonServerOptions.streamResetRate = 1_000_000
  return server
}
