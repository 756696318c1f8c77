import { createConnection, type Socket } from 'node:net'
import { Request, Response } from '@flotilla/api/ttrpc/ttrpc'
import {
  type Call,
  deadlineExceeded,
  RpcError,
  resourceExhausted,
  status,
  toRpcError,
  unavailable,
} from '@flotilla/rpc'
import { encodeFrame, type Frame, FrameReader, frameFlag, frameType, maxDataBytes } from './frames.ts'
import { Inbox } from './inbox.ts'
import { toPairs } from './metadata.ts'

const nothing = new Uint8Array(0)

/** What a method looks like on the wire, and its request payload when there is one from the start. */
export interface Opening {
  readonly service: string
  readonly method: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly payload: Uint8Array
}

/** The caller's end of one call on the wire. */
export interface ClientStream {
  /** Payloads of the answer: one for a unary answer. Throws the call's failure. */
  readonly answers: AsyncIterableIterator<Uint8Array>
  /** Sends one message of a streamed request; resolves when the socket takes more. */
  send(payload: Uint8Array): Promise<void>
  closeSend(): void
  /** Gives the call up: ttrpc has no cancel frame, later frames of the stream are dropped. */
  abandon(error: unknown): void
}

export function tooLarge(length: number): RpcError {
  return resourceExhausted(`message length ${length} exceeds the maximum of ${maxDataBytes} bytes`)
}

interface OpenStream {
  readonly inbox: Inbox<Uint8Array>
  readonly responseStream: boolean
}

/** A client's end of a ttrpc socket. Any number of calls run at once. */
export class TtrpcConnection implements AsyncDisposable {
  readonly #socket: Socket
  readonly #streams = new Map<number, OpenStream>()
  readonly #closed: Promise<void>
  #nextStream = 1
  #ended = false

  constructor(socket: Socket) {
    this.#socket = socket
    const reader = new FrameReader()
    socket.on('data', (chunk: Buffer) => {
      for (const frame of reader.push(chunk)) this.#receive(frame)
    })
    // What went wrong is told to the open calls by `close`, which always follows.
    let reason: Error | undefined
    socket.on('error', (error) => {
      reason = error
    })
    this.#closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#ended = true
        const error = unavailable('ttrpc: closed', { cause: reason })
        for (const { inbox } of this.#streams.values()) inbox.fail(error)
        this.#streams.clear()
        resolve()
      })
    })
  }

  /** Resolves when the connection is gone, whoever ended it. */
  get closed(): Promise<void> {
    return this.#closed
  }

  get isClosed(): boolean {
    return this.#ended
  }

  /** Ends the connection; every open call fails UNAVAILABLE. */
  close(): void {
    this.#socket.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
    await this.#closed
  }

  /** Starts a call. Throws RESOURCE_EXHAUSTED for a request over the limit, UNAVAILABLE on a closed connection. */
  open(opening: Opening, call: Call): ClientStream {
    call.signal.throwIfAborted()
    if (this.#ended || this.#socket.destroyed) throw unavailable('ttrpc: closed')
    const left = call.deadline === undefined ? undefined : call.deadline - Date.now()
    if (left !== undefined && left <= 0) throw deadlineExceeded('context deadline exceeded')
    const request = Request.encode({
      service: opening.service,
      method: opening.method,
      payload: opening.payload as Buffer,
      timeoutNano: left === undefined ? 0 : Math.ceil(left * 1_000_000),
      metadata: toPairs(call),
    }).finish()
    if (request.length > maxDataBytes) throw tooLarge(request.length)

    const stream = this.#nextStream
    this.#nextStream += 2
    const unary = !opening.requestStream && !opening.responseStream
    const flags = unary ? 0 : opening.requestStream ? frameFlag.remoteOpen : frameFlag.remoteClosed

    const forget = () => {
      this.#streams.delete(stream)
      clearTimeout(timer)
      call.signal.removeEventListener('abort', onAbort)
    }
    const inbox = new Inbox<Uint8Array>(forget)
    const abandon = (error: unknown) => {
      forget()
      inbox.fail(error)
    }
    const onAbort = () => abandon(toRpcError(call.signal.reason))
    const timer =
      left === undefined ? undefined : setTimeout(() => abandon(deadlineExceeded('context deadline exceeded')), left)
    call.signal.addEventListener('abort', onAbort, { once: true })
    this.#streams.set(stream, { inbox, responseStream: opening.responseStream })
    this.#socket.write(encodeFrame(stream, frameType.request, flags, request))
    return {
      answers: finally_(inbox, forget),
      send: async (payload) => {
        if (payload.length > maxDataBytes) throw tooLarge(payload.length)
        if (!this.#streams.has(stream)) return
        await this.#write(encodeFrame(stream, frameType.data, 0, payload))
      },
      closeSend: () => {
        if (this.#streams.has(stream))
          this.#socket.write(encodeFrame(stream, frameType.data, frameFlag.remoteClosed | frameFlag.noData, nothing))
      },
      abandon,
    }
  }

  async #write(bytes: Buffer): Promise<void> {
    if (this.#socket.write(bytes)) return
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#socket.off('drain', done)
        this.#socket.off('close', done)
        resolve()
      }
      this.#socket.on('drain', done)
      this.#socket.on('close', done)
    })
  }

  #receive(frame: Frame): void {
    const open = this.#streams.get(frame.stream)
    if (!open) return
    const { inbox } = open
    if (!frame.data) {
      inbox.fail(tooLarge(frame.length))
    } else if (frame.type === frameType.data) {
      if ((frame.flags & frameFlag.noData) === 0) inbox.put(frame.data)
      if ((frame.flags & frameFlag.remoteClosed) !== 0) inbox.end()
      else return
    } else if (frame.type === frameType.response) {
      try {
        const response = Response.decode(frame.data)
        if (response.status && response.status.code !== status.OK) {
          inbox.fail(new RpcError(response.status.code, response.status.message))
        } else {
          if (!open.responseStream) inbox.put(response.payload)
          inbox.end()
        }
      } catch (error) {
        inbox.fail(toRpcError(error))
      }
    } else {
      return
    }
    this.#streams.delete(frame.stream)
  }
}

async function* finally_<T>(items: AsyncIterable<T>, after: () => void): AsyncGenerator<T> {
  try {
    yield* items
  } finally {
    after()
  }
}

/** Connects to the unix socket at `path` (a leading `unix://` is dropped). UNAVAILABLE when nobody listens there. */
export async function connectTtrpc(path: string, signal?: AbortSignal): Promise<TtrpcConnection> {
  signal?.throwIfAborted()
  const socket = createConnection(path.replace(/^unix:\/\//, ''))
  const onAbort = () => socket.destroy(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
  } catch (error) {
    socket.destroy()
    if (signal?.aborted) throw toRpcError(signal.reason)
    throw unavailable(`ttrpc: connecting to ${path}: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    })
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
  return new TtrpcConnection(socket)
}
