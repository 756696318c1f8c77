import { setTimeout as sleep } from 'node:timers/promises'
import { isCluster, type Metadata, mapRedisError } from '@flotilla/metadata'
import type { Redis } from 'ioredis'
import { readStreams, type StreamEntry } from './stream-reply.ts'

/** Milliseconds that Redis waits for something new before it answers with nothing. */
const block = 5_000

/** A connection that waits for entries of streams. It reconnects by itself; a read while it is away is refused. */
export interface BlockingReader extends Disposable {
  /** Resolves when the connection is up; UNAVAILABLE when it is not after a while. */
  ready(): Promise<void>
  /** Entries after the given ids, up to `count` of each stream; empty when nothing came for a while. */
  read(positions: ReadonlyMap<string, string>, count: number): Promise<Array<readonly [string, StreamEntry[]]>>
}

export function createBlockingReader(metadata: Metadata): BlockingReader {
  const redis = metadata.blocking()
  return {
    async ready() {
      for (const end = performance.now() + block; redis.status !== 'ready'; await sleep(5)) {
        if (redis.status === 'end' || performance.now() > end) throw mapRedisError(new Error('no connection'))
      }
    },
    async read(positions, count) {
      if (isCluster(redis)) return await poll(redis, positions, count)
      // A peer that vanished without a word would keep us waiting for ever.
      const guard = setTimeout(() => redis.disconnect(true), 2 * block)
      const ids = [...positions.values()]
      let reply: unknown
      try {
        reply = await redis.callBuffer('XREAD', 'COUNT', count, 'BLOCK', block, 'STREAMS', ...positions.keys(), ...ids)
      } catch (error) {
        throw mapRedisError(error)
      } finally {
        clearTimeout(guard)
      }
      return readStreams(reply)
    },
    [Symbol.dispose]() {
      redis.disconnect()
    },
  }
}

/** Milliseconds between two looks where the streams are on several servers. */
const look = 50

/** The same of streams in different slots: nobody can wait for all of them, so each is asked again and again. */
async function poll(
  redis: Redis,
  positions: ReadonlyMap<string, string>,
  count: number,
): Promise<Array<readonly [string, StreamEntry[]]>> {
  for (const end = performance.now() + block; ; await sleep(look)) {
    const replies = await Promise.all(
      [...positions].map(([key, id]) =>
        redis.callBuffer('XREAD', 'COUNT', count, 'STREAMS', key, id).catch((error: unknown) => {
          throw mapRedisError(error)
        }),
      ),
    )
    const streams = replies.flatMap(readStreams)
    if (streams.length > 0 || performance.now() > end) return streams
  }
}
