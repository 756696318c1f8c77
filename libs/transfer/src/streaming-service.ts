import type { StreamingDefinition } from '@flotilla/api/containerd/services/streaming/v1/streaming'
import { alreadyExists, type Call, invalidArgument, notFound, requireNamespace, type ServiceOf } from '@flotilla/rpc'
import { pack, unpackAny } from './any.ts'
import { OpenStream } from './open-stream.ts'
import { empty, streamInit } from './types.ts'

/** The streams that clients have open at this process, and the service at which they open them. */
export interface Streams {
  readonly service: ServiceOf<typeof StreamingDefinition>
  /** @throws NOT_FOUND when the caller's namespace has no such stream. */
  get(id: string, call: Call): OpenStream
}

/** A stream lives as long as its client's call: nothing of it is left when the client goes. */
export function createStreams(): Streams {
  const streams = new Map<string, OpenStream>()
  const keyOf = (id: string, call: Call) => `${requireNamespace(call)}/${id}`

  return {
    service: {
      async *stream(requests, call) {
        const incoming = requests[Symbol.asyncIterator]()
        const first = await incoming.next()
        if (first.done) throw invalidArgument('the first message must be a StreamInit')
        const { id } = unpackAny(streamInit, first.value)
        if (id === '') throw invalidArgument('stream id is required')
        const key = keyOf(id, call)
        if (streams.has(key)) throw alreadyExists(`stream "${id}"`)
        const stream = new OpenStream(incoming, call)
        streams.set(key, stream)
        try {
          yield pack(empty, {})
          yield* stream.outgoing()
        } finally {
          streams.delete(key)
        }
      },
    },
    get(id, call) {
      const stream = streams.get(keyOf(id, call))
      if (stream === undefined) throw notFound(`stream "${id}"`)
      return stream
    },
  }
}
