import { chmod, mkdir, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { Request, Response } from '@flotilla/api/ttrpc/ttrpc'
import {
  type Call,
  canceled,
  deadlineExceeded,
  invalidArgument,
  type MethodDefinition,
  methodsOf,
  type RpcError,
  type ServiceDefinition,
  toRpcError,
  unimplemented,
} from '@flotilla/rpc'
import { tooLarge } from './connection.ts'
import { encodeFrame, type Frame, FrameReader, frameFlag, frameType, maxDataBytes } from './frames.ts'
import { Inbox } from './inbox.ts'
import { fromPairs } from './metadata.ts'

/** Answers that a client leaves unread before the server stops reading its requests, bytes. */
const maxUnreadBytes = 8 * maxDataBytes

const nothing = new Uint8Array(0)

/** One service with its implementation, of the ServiceOf shape. */
export interface TtrpcService {
  readonly definition: ServiceDefinition
  readonly service: object
}

export interface TtrpcServer extends AsyncDisposable {
  readonly path: string
  /** Stops listening, cuts the connections and removes the socket file. */
  close(): Promise<void>
}

type Handler = (request: unknown, call: Call) => unknown

interface Route {
  readonly method: MethodDefinition
  readonly handler: Handler
}

function routesOf(services: readonly TtrpcService[]): Map<string, Route> {
  const routes = new Map<string, Route>()
  for (const { definition, service } of services) {
    const implementation = service as Record<string, Handler | undefined>
    for (const [key, method] of methodsOf(definition)) {
      const handler = implementation[key]?.bind(service)
      if (handler) routes.set(`${definition.fullName}/${method.name}`, { method, handler })
    }
  }
  return routes
}

/**
 * Serves services on a unix socket (mode 0600, an abandoned socket file is replaced). When a connection ends, the calls
 * that came over it are aborted.
 */
export async function serveTtrpc(path: string, services: readonly TtrpcService[]): Promise<TtrpcServer> {
  const routes = routesOf(services)
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    serveConnection(socket, routes)
  })
  await mkdir(dirname(path), { recursive: true, mode: 0o711 })
  await rm(path, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  await chmod(path, 0o600)
  const close = async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise<void>((resolve) => server.close(() => resolve()))
    await rm(path, { force: true })
  }
  return { path, close, [Symbol.asyncDispose]: close }
}

function serveConnection(socket: Socket, routes: ReadonlyMap<string, Route>): void {
  const reader = new FrameReader()
  const inboxes = new Map<number, Inbox<Uint8Array>>()
  const gone = new AbortController()
  socket.on('error', () => {})
  socket.on('close', () => {
    gone.abort(canceled('the client closed the connection'))
    for (const inbox of inboxes.values()) inbox.fail(gone.signal.reason)
  })
  socket.on('drain', () => socket.resume())

  const write = (stream: number, type: number, flags: number, data: Uint8Array) => {
    if (socket.destroyed) return
    socket.write(encodeFrame(stream, type, flags, data))
    if (socket.writableLength > maxUnreadBytes) socket.pause()
  }
  const respond = (stream: number, payload: Uint8Array, error?: RpcError) => {
    const response = Response.encode({
      status: error && { code: error.code, message: error.message, details: [] },
      payload: payload as Buffer,
    }).finish()
    if (response.length > maxDataBytes) respond(stream, nothing, tooLarge(response.length))
    else write(stream, frameType.response, 0, response)
  }

  const run = async (stream: number, flags: number, data: Uint8Array) => {
    const calls = new AbortController()
    let timer: NodeJS.Timeout | undefined
    const onGone = () => calls.abort(gone.signal.reason)
    gone.signal.addEventListener('abort', onGone, { once: true })
    try {
      const request = Request.decode(data)
      const route = routes.get(`${request.service}/${request.method}`)
      if (!route) throw unimplemented(`method ${request.service}/${request.method}`)
      const { method, handler } = route
      const timeout = request.timeoutNano / 1_000_000
      if (timeout > 0)
        timer = setTimeout(
          () => calls.abort(deadlineExceeded('context deadline exceeded')),
          Math.min(timeout, 2 ** 31 - 1),
        )
      const call: Call = {
        ...fromPairs(request.metadata),
        signal: calls.signal,
        deadline: timeout > 0 ? Date.now() + timeout : undefined,
      }
      let input: unknown
      if (method.requestStream) {
        const inbox = new Inbox<Uint8Array>()
        if ((flags & frameFlag.remoteClosed) !== 0) inbox.end()
        else inboxes.set(stream, inbox)
        input = decoded(inbox, method)
      } else {
        input = method.requestType.decode(request.payload)
      }
      if (!method.responseStream) {
        const answer = await (handler(input, call) as Promise<unknown>)
        respond(stream, method.responseType.encode(answer).finish())
        return
      }
      for await (const answer of handler(input, call) as AsyncIterable<unknown>) {
        const payload = method.responseType.encode(answer).finish()
        if (payload.length > maxDataBytes) throw tooLarge(payload.length)
        if (calls.signal.aborted) throw calls.signal.reason
        write(stream, frameType.data, 0, payload)
        if (socket.writableNeedDrain) await drained(socket)
      }
      write(stream, frameType.data, frameFlag.remoteClosed | frameFlag.noData, nothing)
    } catch (error) {
      respond(stream, nothing, toRpcError(error))
    } finally {
      clearTimeout(timer)
      gone.signal.removeEventListener('abort', onGone)
      inboxes.delete(stream)
    }
  }

  const receive = (frame: Frame) => {
    if (frame.type === frameType.request) {
      if (frame.stream % 2 !== 1) respond(frame.stream, nothing, invalidArgument('stream ids of a client are odd'))
      else if (frame.data) void run(frame.stream, frame.flags, frame.data)
      else respond(frame.stream, nothing, tooLarge(frame.length))
      return
    }
    const inbox = inboxes.get(frame.stream)
    if (frame.type !== frameType.data || !inbox) return
    if (!frame.data) inbox.fail(tooLarge(frame.length))
    else if ((frame.flags & frameFlag.noData) === 0) inbox.put(frame.data)
    if ((frame.flags & frameFlag.remoteClosed) !== 0) inbox.end()
  }
  socket.on('data', (chunk: Buffer) => {
    for (const frame of reader.push(chunk)) receive(frame)
  })
}

async function* decoded(inbox: Inbox<Uint8Array>, method: MethodDefinition): AsyncGenerator<unknown> {
  for await (const payload of inbox) yield method.requestType.decode(payload)
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done)
      socket.off('close', done)
      resolve()
    }
    socket.on('drain', done)
    socket.on('close', done)
  })
}
