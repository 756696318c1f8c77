import { chmod, mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { Call } from './call.ts'
import { canceled, status, toRpcError, unavailable, unimplemented } from './errors.ts'
import { fromMetadata } from './metadata.ts'
import { messagesOf } from './readable.ts'
import { type MethodDefinition, methodsOf, type ServiceDefinition } from './service.ts'

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
  /** Completes each call before its method sees it, e.g. with the node whose socket it came through. */
  readonly admit?: (call: Call) => Call
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
   * one). Answers the address that clients can use.
   */
  listen(address: string): Promise<string>
  /** Stops taking calls, gives running ones this many milliseconds, then ends them with UNAVAILABLE. */
  close(graceMs?: number): Promise<void>
}

export type RawHandler = (
  method: { path: string; requestStream: boolean; responseStream: boolean },
  requests: AsyncIterable<Buffer>,
  call: Call,
) => AsyncIterable<Buffer>

type AnyServerCall =
  | ServerUnaryCall<unknown, unknown>
  | ServerReadableStream<unknown, unknown>
  | ServerWritableStream<unknown, unknown>
  | ServerDuplexStream<unknown, unknown>

type Handler = (request: unknown, call: Call) => unknown

function callOf(from: AnyServerCall, controller: AbortController): Call {
  ;(from as ServerUnaryCall<unknown, unknown>).once('cancelled', () =>
    controller.abort(canceled('the client ended the call')),
  )
  const deadline = from.getDeadline()
  const at = deadline instanceof Date ? deadline.getTime() : deadline
  return { ...fromMetadata(from.metadata), signal: controller.signal, deadline: Number.isFinite(at) ? at : undefined }
}

/** Resolves when a stream that refused a write takes more, rejects when the call was cut meanwhile. */
function drained(
  stream: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
  signal: AbortSignal,
) {
  return new Promise<void>((resolve, reject) => {
    const onDrain = () => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }
    const onAbort = () => {
      stream.removeListener('drain', onDrain)
      reject(signal.reason)
    }
    if (signal.aborted) return reject(signal.reason)
    stream.once('drain', onDrain)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** Rejects when a call was cut: who waits for something else would not notice that by itself. */
function ended(signal: AbortSignal): Promise<never> {
  const gone = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  gone.catch(() => {})
  return gone
}

async function pump(
  answers: AsyncIterable<unknown>,
  stream: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
  signal: AbortSignal,
) {
  const iterator = answers[Symbol.asyncIterator]()
  const gone = ended(signal)
  let finished = false
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), gone])
      if (next.done) {
        finished = true
        return
      }
      if (!stream.write(next.value)) await drained(stream, signal)
    }
  } catch (error) {
    if (!signal.aborted) finished = true
    throw error
  } finally {
    // Not awaited: a generator blocked in its own await only ends when that settles, which its signal brings about.
    if (!finished) void Promise.resolve(iterator.return?.()).catch(() => {})
  }
}

/**
 * Makes a gRPC server for services of the {@link ServiceOf} shape. Errors thrown by a method are mapped in one place
 * (`toRpcError`).
 */
export function createRpcServer(options: RpcServerOptions = {}): RpcServer {
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
  const sockets: string[] = []
  const running = new Set<AbortController>()
  const admit = options.admit ?? ((call: Call) => call)

  const finish = (
    service: string,
    method: string,
    call: Call,
    started: number,
    error?: { code: number; message: string },
  ) =>
    options.observe?.({
      service,
      method,
      namespace: call.namespace,
      code: error?.code ?? status.OK,
      message: error?.message,
      duration: performance.now() - started,
    })

  const failure = (error: unknown) => {
    const mapped = toRpcError(error)
    return { code: mapped.code, details: mapped.message, message: mapped.message, name: mapped.name }
  }

  function wrap(definition: ServiceDefinition, method: MethodDefinition, handler: Handler) {
    if (method.responseStream) {
      return async (from: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>) => {
        const controller = new AbortController()
        const call = admit(callOf(from, controller))
        const started = performance.now()
        running.add(controller)
        try {
          const request = method.requestStream
            ? messagesOf(from as ServerDuplexStream<unknown, unknown>)
            : (from as ServerWritableStream<unknown, unknown>).request
          await pump(handler(request, call) as AsyncIterable<unknown>, from, call.signal)
          finish(definition.fullName, method.name, call, started)
          from.end()
        } catch (error) {
          const failed = failure(error)
          finish(definition.fullName, method.name, call, started, failed)
          from.emit('error', failed)
        } finally {
          running.delete(controller)
        }
      }
    }
    return async (
      from: ServerUnaryCall<unknown, unknown> | ServerReadableStream<unknown, unknown>,
      answer: sendUnaryData<unknown>,
    ) => {
      const controller = new AbortController()
      const call = admit(callOf(from, controller))
      const started = performance.now()
      running.add(controller)
      try {
        const request = method.requestStream
          ? messagesOf(from as ServerReadableStream<unknown, unknown>)
          : (from as ServerUnaryCall<unknown, unknown>).request
        const response = await Promise.race([handler(request, call), ended(call.signal)])
        finish(definition.fullName, method.name, call, started)
        answer(null, response)
      } catch (error) {
        const failed = failure(error)
        finish(definition.fullName, method.name, call, started, failed)
        answer(failed)
      } finally {
        running.delete(controller)
      }
    }
  }

  function register(
    definition: ServiceDefinition,
    serializer: (method: MethodDefinition) => Codec,
    handlerOf: (key: string, method: MethodDefinition) => Handler,
  ) {
    const specs: Record<string, object> = {}
    const handlers: Record<string, unknown> = {}
    for (const [key, method] of methodsOf(definition)) {
      specs[key] = {
        path: `/${definition.fullName}/${method.name}`,
        requestStream: method.requestStream,
        responseStream: method.responseStream,
        ...serializer(method),
      }
      handlers[key] = wrap(definition, method, handlerOf(key, method))
    }
    server.addService(specs as never, handlers as UntypedServiceImplementation)
  }

  return {
    add(definition, service) {
      const implementation = service as Record<string, Handler | undefined>
      register(definition, typedCodec, (key, method) => {
        const handler = implementation[key]
        return handler
          ? handler.bind(service)
          : () => Promise.reject(unimplemented(`${definition.fullName}.${method.name}`))
      })
    },
    addRaw(definition, handle) {
      const raw = {
        ...definition,
        methods: Object.fromEntries(
          methodsOf(definition).map(([key, method]) => [key, { ...method, requestStream: true, responseStream: true }]),
        ),
      }
      const original = new Map(methodsOf(definition))
      register(
        raw,
        () => rawCodec,
        (key, method) => {
          const kind = original.get(key) ?? method
          const about = {
            path: `/${definition.fullName}/${method.name}`,
            requestStream: kind.requestStream,
            responseStream: kind.responseStream,
          }
          return (requests, call) => handle(about, requests as AsyncIterable<Buffer>, call)
        },
      )
    },
    async listen(address) {
      const path = address.startsWith('unix:') ? address.replace(/^unix:(\/\/)?/, '') : undefined
      if (path !== undefined) {
        await mkdir(dirname(path), { recursive: true, mode: 0o711 })
        await rm(path, { force: true })
      }
      const port = await new Promise<number>((resolve, reject) => {
        server.bindAsync(
          path === undefined ? address : `unix:${path}`,
          ServerCredentials.createInsecure(),
          (error, bound) => (error ? reject(error) : resolve(bound)),
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
      await new Promise<void>((resolve) => {
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
      await Promise.all(sockets.map((path) => rm(path, { force: true })))
    },
    async [Symbol.asyncDispose]() {
      await this.close()
    },
  }
}

interface Codec {
  requestSerialize: (value: unknown) => Buffer
  requestDeserialize: (bytes: Buffer) => unknown
  responseSerialize: (value: unknown) => Buffer
  responseDeserialize: (bytes: Buffer) => unknown
}

function typedCodec(method: MethodDefinition): Codec {
  return {
    requestSerialize: (value) => Buffer.from(method.requestType.encode(value).finish()),
    requestDeserialize: (bytes) => method.requestType.decode(bytes),
    responseSerialize: (value) => Buffer.from(method.responseType.encode(value).finish()),
    responseDeserialize: (bytes) => method.responseType.decode(bytes),
  }
}

const rawCodec: Codec = {
  requestSerialize: (value) => value as Buffer,
  requestDeserialize: (bytes) => bytes,
  responseSerialize: (value) => value as Buffer,
  responseDeserialize: (bytes) => bytes,
}
