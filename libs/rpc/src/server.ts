import { chmod, chown, mkdir, rm } from 'node:fs/promises'
import type { Server, Socket } from 'node:net'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PeerCertificate, TLSSocket } from 'node:tls'
import { type Admit, type Caller, plainly } from './admission.ts'
import { AnswerRooms, takeLaidOut } from './answer-rooms.ts'
import type { Call } from './call.ts'
import { checked, checkedOne, filtered, filteredOne, within } from './checked.ts'
import { type Codec, rawCodec, typedCodec } from './codec.ts'
import {
  errorFields,
  internal,
  RpcError,
  resourceExhausted,
  status,
  toRpcError,
  unauthenticated,
  unavailable,
  unimplemented,
} from './errors.ts'
import { grpcHeaders } from './grpc-headers.ts'
import { Connection, maxStreams } from './http2/connection.ts'
import { bytesIn, IncomingCall } from './incoming-call.ts'
import { bindServer } from './listen.ts'
import { maxMessageBytes } from './message-reader.ts'
import { RunningCall } from './running-call.ts'
import { doesKeepNoRequest, type MethodDefinition, methodsOf, type ServiceDefinition } from './service.ts'
import type { TlsIdentity } from './tls.ts'

/** Milliseconds for the words that a call was cut to reach its client. */
const cutLimit = 500

/** Milliseconds of silence after which a client on another machine is asked whether it is there. */
const silenceLimit = 30_000

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
  /** Who owns a unix socket; this process's user and group when absent. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined
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

/** The other end of a connection. */
interface Peer {
  caller(): Caller
  /**
   * Calls that methods work on for it, those too that it gave up: it may not have more of them than streams by beginning
   * calls and resetting them.
   */
  working: number
}

/** A method as it is offered; one that passes bytes on is a stream both ways whatever its kind. */
interface Registration {
  readonly definition: ServiceDefinition
  readonly method: MethodDefinition
  readonly requestStream: boolean
  readonly responseStream: boolean
  /** See `keepsNoRequest`. */
  readonly reusesMemory: boolean
  readonly handler: Handler
  readonly codec: Codec
}

/**
 * Makes a gRPC server for services of the {@link ServiceOf} shape. Errors thrown by a method are mapped in one place
 * (`toRpcError`).
 */
export function createRpcServer(options: RpcServerOptions = {}): RpcServer {
  /** By path. */
  const registered = new Map<string, Registration>()
  const services = new Set<string>()
  const servers: Server[] = []
  const sockets: string[] = []
  const connections = new Set<Connection>()
  const running = new Set<RunningCall>()
  const admit = options.admit ?? plainly
  const rooms = new AnswerRooms()

  function register(definition: ServiceDefinition, registration: Omit<Registration, 'definition'>): void {
    services.add(definition.fullName)
    registered.set(pathOf(definition, registration.method), { definition, ...registration })
  }

  function connected(socket: Socket, tls: TlsIdentity | undefined): void {
    const peer: Peer = { caller: callersOf(socket, tls), working: 0 }
    const connection = new Connection(socket, (stream, fields, ended) =>
      begin(new IncomingCall(stream, grpcHeaders(fields), ended), peer),
    )
    // A process of this machine does not go without its socket's closing.
    if (socket.remoteAddress !== undefined) connection.probe(silenceLimit)
    connections.add(connection)
    socket.once('close', () => connections.delete(connection))
  }

  /** Finds the method of a call, and has it answered once its request is there. */
  function begin(incoming: IncomingCall, peer: Peer): void {
    const { malformed, path, refuse, timeout } = incoming.headers
    const registration = registered.get(path)
    if (malformed) incoming.breach()
    else if (refuse !== undefined) incoming.refuse(refuse)
    else if (Number.isNaN(timeout)) fail(incoming, internal('malformed grpc-timeout'))
    else if (registration === undefined) fail(incoming, unknownMethod(path, services))
    else if (peer.working >= maxStreams) incoming.turnAway()
    else if (registration.requestStream) void carryOut(registration, incoming, peer, undefined)
    else {
      const received = () => beginUnary(registration, incoming, peer)
      incoming.taker = { received, cut() {}, drained() {} }
      if (incoming.ended) received()
    }
  }

  function beginUnary(registration: Registration, incoming: IncomingCall, peer: Peer): void {
    const tooMany = incoming.more
    if (!incoming.ended && !tooMany && !incoming.failure) return
    const message = incoming.take()
    if (incoming.failure) fail(incoming, incoming.failure)
    else if (message !== undefined && !tooMany) void carryOut(registration, incoming, peer, message)
    else fail(incoming, unimplemented(`${incoming.headers.path} takes one message`))
  }

  /** Admits a call and answers it; its client may be gone. */
  async function carryOut(
    registration: Registration,
    incoming: IncomingCall,
    peer: Peer,
    message: Buffer | undefined,
  ): Promise<void> {
    const { codec, definition, handler, method, responseStream } = registration
    const started = performance.now()
    incoming.reusesMemory = registration.reusesMemory
    const current = new RunningCall(incoming, responseStream ? rooms : undefined)
    running.add(current)
    peer.working++
    const encode = (answer: unknown) => takeLaidOut(answer) ?? sized(codec.responseSerialize(answer))
    let { call } = current
    let failure: RpcError | undefined
    try {
      const admission = within(registration, admit(call, { definition, method }, peer.caller()))
      call = admission.call
      const request =
        message === undefined
          ? checked(
              current.requests((bytes) => decoded(codec, bytes)),
              admission,
            )
          : checkedOne(decoded(codec, message), admission)
      const result = handler(request, call)
      if (responseStream) await current.send(filtered(result as AsyncIterable<unknown>, admission), encode)
      else incoming.write(encode(await current.wait(filteredOne(result, admission))))
    } catch (error) {
      failure = toRpcError(error)
    }
    running.delete(current)
    current.whenIdle(() => peer.working--)
    incoming.finish(failure ? endOf(failure) : ok)
    options.observe?.({
      service: definition.fullName,
      method: method.name,
      namespace: call.namespace,
      code: failure?.code ?? status.OK,
      message: failure?.message,
      duration: performance.now() - started,
    })
  }

  return {
    add(definition, service) {
      const implementation = service as Record<string, Handler | undefined>
      for (const [key, method] of methodsOf(definition)) {
        const { requestStream, responseStream } = method
        const own = implementation[key]
        const handler =
          own?.bind(service) ?? (() => Promise.reject(unimplemented(`${definition.fullName}.${method.name}`)))
        const reusesMemory = own !== undefined && doesKeepNoRequest(own)
        const codec = typedCodec(method)
        register(definition, { method, requestStream, responseStream, reusesMemory, handler, codec })
      }
    },
    addRaw(definition, handle) {
      for (const [, method] of methodsOf(definition)) {
        const { requestStream, responseStream } = method
        const about = { path: pathOf(definition, method), requestStream, responseStream }
        const handler: Handler = (requests, call) => handle(about, requests as AsyncIterable<Buffer>, call)
        const passing = { requestStream: true, responseStream: true, reusesMemory: false, codec: rawCodec }
        register(definition, { method, handler, ...passing })
      }
    },
    async listen(address, { owner, tls } = {}) {
      const path = address.startsWith('unix:') ? address.replace(/^unix:(\/\/)?/, '') : undefined
      if (path !== undefined) {
        await mkdir(dirname(path), { recursive: true, mode: 0o711 })
        await rm(path, { force: true })
      }
      const { port, server } = await bindServer(path ?? address, tls, (socket) => connected(socket, tls))
      servers.push(server)
      if (path !== undefined) {
        if (owner !== undefined) await chown(path, owner.uid, owner.gid)
        await chmod(path, 0o660)
        sockets.push(path)
        return `unix://${path}`
      }
      return `${address.slice(0, address.lastIndexOf(':'))}:${port}`
    },
    async close(graceMs = 2_000) {
      for (const server of servers) server.close()
      const closed = Promise.all([...connections].map((connection) => connection.close()))
      if (!(await settledWithin(closed, graceMs))) {
        for (const call of running) call.abort(unavailable('the server is stopping'))
        if (!(await settledWithin(closed, cutLimit))) for (const connection of connections) connection.destroy()
      }
      await Promise.all(sockets.map((path) => rm(path, { force: true })))
    },
    async [Symbol.asyncDispose]() {
      await this.close()
    },
  }
}

const pathOf = (definition: ServiceDefinition, method: MethodDefinition) => `/${definition.fullName}/${method.name}`

const ok = { code: status.OK, message: '', metadata: [] }

const endOf = (error: RpcError) => ({ code: error.code, message: error.message, metadata: errorFields(error) })

const fail = (incoming: IncomingCall, error: RpcError) => incoming.finish(endOf(error))

/** Who calls, by the listener's kind: a connection that is breaking has no certificate any more, and is no plain one. */
function callersOf(socket: Socket, tls: TlsIdentity | undefined): () => Caller {
  if (tls === undefined) return () => ({ certificate: undefined })
  // It stays what it is, and to be shown it costs a dozen objects.
  let certificate: PeerCertificate | undefined
  return () => {
    const shown = certificate ?? (socket as TLSSocket).getPeerCertificate()
    if (shown?.raw === undefined) throw unauthenticated('the connection shows no certificate')
    certificate = shown
    if (tls.isRevoked?.(certificate.serialNumber))
      throw unauthenticated(`the certificate ${certificate.serialNumber} is revoked`)
    return { certificate }
  }
}

/** In the words of Go's servers, which clients look for. */
function unknownMethod(path: string, services: ReadonlySet<string>): RpcError {
  const cut = path.lastIndexOf('/')
  if (cut < 1) return new RpcError(status.UNIMPLEMENTED, `malformed method name: "${path}"`)
  const service = path.slice(1, cut)
  return new RpcError(
    status.UNIMPLEMENTED,
    services.has(service)
      ? `unknown method ${path.slice(cut + 1)} for service ${service}`
      : `unknown service ${service}`,
  )
}

function decoded(codec: Codec, bytes: Buffer): unknown {
  try {
    return codec.requestDeserialize(bytes)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new RpcError(status.INTERNAL, `grpc: error unmarshalling request: ${why}`, { cause: error })
  }
}

function sized<T extends Buffer | readonly Buffer[]>(message: T): T {
  const size = bytesIn(message)
  if (size <= maxMessageBytes) return message
  throw resourceExhausted(`grpc: trying to send message larger than max (${size} vs. ${maxMessageBytes})`)
}

function settledWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  return Promise.race([promise.then(() => true), sleep(ms, false, { ref: false })])
}
