import { closeSync, constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  StreamPiece_Direction as Direction,
  StreamPiece,
  type StreamsDefinition,
} from '@flotilla/api/flotilla/peer/v1/peer'
import { errnoOf } from '@flotilla/linux'
import { invalidArgument, type ServiceOf } from '@flotilla/rpc'
import { Lingering } from './lingering.ts'
import { openedWithin, Prepared } from './prepared.ts'

const { O_NONBLOCK, O_RDONLY, O_WRONLY } = constants

/** Milliseconds between two looks whether a client has opened its end. */
const lookEvery = 25

/** Milliseconds that a client's end stays open after the process's node fell silent. */
const graceful = 120_000

/** The clients' ends, on their node. */
export function createStreamsService(deps: {
  /** For FIFOs of clients that attach, of this alone. */
  readonly directory: string
}): ServiceOf<StreamsDefinition> {
  const lingering = new Lingering(graceful)
  const prepared = new Prepared(deps.directory)
  return {
    async prepare(request) {
      return prepared.make(request)
    },
    async *connect(requests, call) {
      const iterator = requests[Symbol.asyncIterator]()
      const first = await iterator.next()
      if (first.done) throw invalidArgument('the first message must name a FIFO')
      const { direction, path } = first.value
      if (!path.startsWith('/')) throw invalidArgument(`FIFO ${JSON.stringify(path)} is not an absolute path`)
      if (direction === Direction.OUTPUT && prepared.has(path)) {
        const late = AbortSignal.any([call.signal, AbortSignal.timeout(openedWithin)])
        const fd = await openForReader(path, late)
        prepared.keep(path)
        try {
          yield* output(path, fd, iterator, call.signal, lingering)
        } finally {
          if (path.endsWith('/stdout')) prepared.remove(path)
        }
      } else if (direction === Direction.OUTPUT)
        yield* output(path, await openForReader(path, call.signal), iterator, call.signal, lingering)
      else if (direction === Direction.INPUT) yield* input(path, iterator, call.signal, lingering)
      else throw invalidArgument(`FIFO ${path}: no direction`)
    },
  }
}

/** Bytes of the process to the client's FIFO. As a shim does, it keeps a reading end, so that a client may leave. */
async function* output(
  path: string,
  fd: number,
  pieces: AsyncIterator<StreamPiece>,
  signal: AbortSignal,
  lingering: Lingering,
): AsyncGenerator<StreamPiece> {
  const writer = new Socket({ fd, readable: false, writable: true })
  const held = openSync(path, O_RDONLY | O_NONBLOCK)
  lingering.release(path)
  let ended = false
  const failed = new Promise<never>((_, reject) => writer.once('error', reject))
  failed.catch(() => {})
  const gone = () => {
    // Before the end is closed that the client reads from.
    if (!ended) lingering.hold(path, O_WRONLY)
    writer.destroy()
  }
  signal.addEventListener('abort', gone, { once: true })
  try {
    yield StreamPiece.fromPartial({})
    for (let next = await pieces.next(); !next.done; next = await pieces.next()) {
      const { data } = next.value
      if (data.length === 0 || writer.write(data)) continue
      await Promise.race([new Promise((resolve) => writer.once('drain', resolve)), failed, aborted(signal)])
    }
    // Whoever is cut off has not said that this was all.
    signal.throwIfAborted()
    ended = true
    await Promise.race([new Promise<void>((resolve) => writer.end(resolve)), failed, aborted(signal)])
  } finally {
    signal.removeEventListener('abort', gone)
    gone()
    closeSync(held)
  }
}

/** The client's bytes to the process; they end when the client's end does, once the process's input was closed. */
async function* input(
  path: string,
  pieces: AsyncIterator<StreamPiece>,
  signal: AbortSignal,
  lingering: Lingering,
): AsyncGenerator<StreamPiece> {
  const reader = new Socket({ fd: openSync(path, O_RDONLY | O_NONBLOCK), readable: true, writable: false })
  let ended = false
  // As a shim does: a client that goes is no end of file, only one that goes after closing the input is.
  let held: number | undefined = openSync(path, O_WRONLY | O_NONBLOCK)
  lingering.release(path)
  const letGo = () => {
    if (held !== undefined) closeSync(held)
    held = undefined
  }
  const gone = () => {
    if (!ended) lingering.hold(path, O_RDONLY)
    reader.destroy()
  }
  signal.addEventListener('abort', gone, { once: true })
  const told = (async () => {
    for (let next = await pieces.next(); !next.done; next = await pieces.next()) if (next.value.closing) letGo()
  })()
  // The call's own end says so as well.
  told.catch(() => {})
  try {
    for await (const data of reader) yield StreamPiece.fromPartial({ data: data as Buffer })
    ended = !signal.aborted
  } finally {
    signal.removeEventListener('abort', gone)
    gone()
    letGo()
  }
}

/** Opens a FIFO for writing once somebody reads it. */
async function openForReader(path: string, signal: AbortSignal): Promise<number> {
  for (;;) {
    signal.throwIfAborted()
    try {
      return openSync(path, O_WRONLY | O_NONBLOCK)
    } catch (error) {
      if (errnoOf(error) !== 'ENXIO') throw error
      await sleep(lookEvery, undefined, { signal })
    }
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  const gone = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  gone.catch(() => {})
  return gone
}
