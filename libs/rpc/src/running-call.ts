import type { ServerDuplexStream, ServerReadableStream, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js'
import type { Call } from './call.ts'
import { canceled } from './errors.ts'
import { fromMetadata } from './metadata.ts'

export type AnyServerCall =
  | ServerUnaryCall<unknown, unknown>
  | ServerReadableStream<unknown, unknown>
  | ServerWritableStream<unknown, unknown>
  | ServerDuplexStream<unknown, unknown>

/** A call as it came, before anybody admitted it. */
export function callOf(from: AnyServerCall, controller: AbortController): Call {
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

/** Waits for one thing after another on behalf of a call. */
export interface CallWait extends Disposable {
  /** What a promise gives, unless the call is cut before: then it rejects with the reason. */
  for<T>(work: PromiseLike<T> | T): Promise<T>
}

/**
 * What waits for something else would not notice by itself that its call was cut. One listener for a whole stream, and
 * no race with a promise that lives as long: that would keep every message of the stream in memory.
 */
export function waitOf(signal: AbortSignal): CallWait {
  let cut: ((reason: unknown) => void) | undefined
  const onAbort = () => cut?.(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  return {
    for: (work) =>
      new Promise((resolve, reject) => {
        cut = reject
        if (signal.aborted) reject(signal.reason)
        Promise.resolve(work).then(resolve, reject)
      }),
    [Symbol.dispose]: () => signal.removeEventListener('abort', onAbort),
  }
}

/** Writes answers to a stream as fast as its client takes them. Rejects when the call was cut. */
export async function pump(
  answers: AsyncIterable<unknown>,
  stream: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
  signal: AbortSignal,
) {
  const iterator = answers[Symbol.asyncIterator]()
  using wait = waitOf(signal)
  let finished = false
  try {
    for (;;) {
      const next = await wait.for(iterator.next())
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
