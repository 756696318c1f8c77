import { Progress, type Progress as ProgressMessage } from '@flotilla/api/containerd/types/transfer/transfer'
import type { Any } from '@flotilla/api/google/protobuf/any'
import { type Call, withCall } from '@flotilla/rpc'
import { nameOf, pack, unpackAny } from '../any.ts'
import type { Streams } from '../streaming-service.ts'
import { data, streamInit, windowUpdate } from '../types.ts'

/** A stream as its client has it. */
export interface ClientStream {
  readonly id: string
  send(message: Any): void
  /** Undefined when the service sends no more. */
  receive(): Promise<Any | undefined>
  /** Sends no more. */
  end(): void
  /** Leaves, as a client that was killed. */
  leave(): void
}

let opened = 0

/** Opens a stream; resolves when the service knows it. */
export async function openClientStream(streams: Streams, call: Call): Promise<ClientStream> {
  const id = `stream-${++opened}`
  const gone = new AbortController()
  const waiting: Any[] = [pack(streamInit, { id })]
  let ended = false
  let wake = Promise.withResolvers<void>()
  const requests = (async function* () {
    for (;;) {
      const next = waiting.shift()
      if (next !== undefined) yield next
      else if (ended) return
      else {
        wake = Promise.withResolvers()
        await wake.promise
      }
    }
  })()
  const during = withCall(call, { signal: AbortSignal.any([call.signal, gone.signal]) })
  const answers = streams.service.stream(requests, during)[Symbol.asyncIterator]()
  await answers.next()
  // As fast as they come, as a connection takes them.
  const received: Any[] = []
  let over = false
  let failure: unknown
  let came = Promise.withResolvers<void>()
  void (async () => {
    try {
      for (let next = await answers.next(); !next.done; next = await answers.next()) {
        received.push(next.value)
        came.resolve()
      }
    } catch (error) {
      failure = error
    }
    over = true
    came.resolve()
  })()
  return {
    id,
    send(message) {
      waiting.push(message)
      wake.resolve()
    },
    async receive() {
      for (;;) {
        const next = received.shift()
        if (next !== undefined) return next
        if (failure !== undefined) throw failure
        if (over) return undefined
        came = Promise.withResolvers()
        await came.promise
      }
    },
    end() {
      ended = true
      wake.resolve()
    },
    leave() {
      gone.abort(new Error('the client was killed'))
    },
  }
}

/** Sends bytes as the service grants room for them, then ends. */
export async function sending(
  streams: Streams,
  call: Call,
  bytes: Uint8Array,
): Promise<ClientStream & { readonly done: Promise<void> }> {
  const stream = await openClientStream(streams, call)
  const done = (async () => {
    let room = 0
    for (let at = 0; at < bytes.length; ) {
      while (room <= 0) {
        const message = await stream.receive()
        if (message === undefined) return
        room += unpackAny(windowUpdate, message).update
      }
      const piece = Buffer.from(bytes.subarray(at, at + Math.min(room, 32 * 1024)))
      stream.send(pack(data, { data: piece }))
      at += piece.length
      room -= piece.length
    }
    stream.end()
    while ((await stream.receive()) !== undefined);
  })()
  done.catch(() => {})
  return { ...stream, done }
}

/** Takes all bytes that the service sends, granting 64 KiB at a time as clients do. */
export async function receiving(
  streams: Streams,
  call: Call,
): Promise<ClientStream & { readonly bytes: Promise<Buffer> }> {
  const stream = await openClientStream(streams, call)
  const window = 64 * 1024
  const bytes = (async () => {
    const pieces: Buffer[] = []
    let granted = 0
    for (;;) {
      if (granted < window) {
        stream.send(pack(windowUpdate, { update: window }))
        granted += window
      }
      const message = await stream.receive()
      if (message === undefined) return Buffer.concat(pieces)
      const piece = Buffer.from(unpackAny(data, message).data)
      granted -= piece.length
      pieces.push(piece)
    }
  })()
  bytes.catch(() => {})
  return { ...stream, bytes }
}

/** What is told over a progress stream, to its end. */
export async function hearing(
  streams: Streams,
  call: Call,
): Promise<ClientStream & { readonly told: Promise<ProgressMessage[]> }> {
  const stream = await openClientStream(streams, call)
  const told = (async () => {
    const events: ProgressMessage[] = []
    for (let next = await stream.receive(); next !== undefined; next = await stream.receive()) {
      if (nameOf(next) !== 'containerd.types.transfer.Progress') throw new Error(`no progress: ${next.typeUrl}`)
      events.push(Progress.decode(next.value))
    }
    return events
  })()
  told.catch(() => {})
  return { ...stream, told }
}
