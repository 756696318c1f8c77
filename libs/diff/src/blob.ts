import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { errnoOf, pipe } from '@flotilla/linux'
import { type Call, notFound, RpcError, withCall } from '@flotilla/rpc'
import type { DiffServiceDeps } from './deps.ts'

/** The bytes of a blob; disposing closes them. */
export interface OpenBlob extends AsyncDisposable {
  /** Descriptor of a file, or of a pipe where another program has the bytes. */
  readonly fd: number
  /** Bytes that the file is going to have, when it does not have them yet. */
  readonly growsTo?: number
  /** Throws when the bytes ended before they were all there. */
  finished(): Promise<void>
}

/** Opens content of the caller's namespace. */
export async function openBlob(deps: DiffServiceDeps, digest: string, call: Call): Promise<OpenBlob> {
  try {
    const { path, size } = await deps.blobs.locate({ digest }, call)
    return path === '' ? piped(deps, digest, size, call) : opened(path, digest)
  } catch (error) {
    if (!(error instanceof RpcError)) throw error
    throw new RpcError(error.code, `failed to get reader from content store: ${error.message}`, { cause: error })
  }
}

/**
 * Opens the file that an ingest's bytes come to, of which there will be `size`.
 *
 * @throws NOT_FOUND when nobody writes the ingest now
 */
export async function openIngest(deps: DiffServiceDeps, ref: string, size: number, call: Call): Promise<OpenBlob> {
  const { path } = await deps.blobs.locateIngest({ ref }, call)
  return { ...opened(path, `of ingest ${ref}`), growsTo: size }
}

function opened(path: string, digest: string): OpenBlob {
  try {
    const fd = openSync(path, 'r')
    return { fd, finished: async () => {}, [Symbol.asyncDispose]: async () => closeSync(fd) }
  } catch (error) {
    // Collected between the two calls.
    throw errnoOf(error) === 'ENOENT' ? notFound(`content digest ${digest}`) : error
  }
}

/** Reads the content into a pipe, as fast as somebody takes it out. */
function piped({ content }: DiffServiceDeps, digest: string, size: number, call: Call): OpenBlob {
  const { read, write } = pipe()
  const stop = new AbortController()
  const sink = new Socket({ fd: write, readable: false, writable: true })
  // A reader that has enough closes its end; what else goes wrong with a pipe is told by the write.
  sink.on('error', () => stop.abort())
  const signal = AbortSignal.any([call.signal, stop.signal])
  const pump = async () => {
    try {
      const request = { digest, offset: 0, size }
      for await (const { data } of content.read(request, withCall(call, { signal }))) {
        if (!sink.write(data)) await once(sink, 'drain', { signal })
      }
    } finally {
      sink.end()
    }
  }
  const pumped = pump()
  // Looked at when the layer has been read.
  pumped.catch(() => {})
  return {
    fd: read,
    finished: () => pumped,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await pumped.catch(() => {})
      sink.destroy()
      closeSync(read)
    },
  }
}
