import { unavailable } from '@flotilla/rpc'
import type { Redis } from 'ioredis'
import { asked } from './connection.ts'

/** Milliseconds that replicas have to confirm what was written; less than a command may take. */
const patience = 2_000

/**
 * Makes changes of a connection outlive the loss of the primary: waits until this many replicas, and the primary, have
 * them on disk (WAITAOF, Redis 7.2), else until the replicas have them in memory (WAIT). With 0 it waits for nothing.
 *
 * What it throws is UNAVAILABLE: as when a connection breaks, the change may have been made or not. A primary that was
 * cut off and does not know yet that another took its place has no replicas, and so acknowledges nothing.
 *
 * @returns runs a change, then waits; changes that are made in one turn of the event loop share one question
 */
export function replicating(redis: Redis, replicas: number): <T>(change: () => Promise<T>) => Promise<T> {
  if (replicas === 0) return (change) => change()
  let hasFiles = true
  // Replicas confirm what came through this connection: what came through the one before it they know nothing of.
  let connection = 0
  redis.on('close', () => {
    connection++
    hasFiles = true
  })
  let asking: Promise<number> | undefined

  async function confirmations(): Promise<number> {
    if (hasFiles) {
      try {
        const [local, remote] = (await redis.call('WAITAOF', 1, replicas, patience)) as [number, number]
        return local < 1 ? 0 : remote
      } catch (error) {
        if (!(error instanceof Error && /unknown command|appendonly is disabled/i.test(error.message))) throw error
        hasFiles = false
      }
    }
    return await redis.wait(replicas, patience)
  }

  async function ask(): Promise<number> {
    await new Promise(setImmediate)
    asking = undefined
    return await asked(confirmations())
  }

  return async (change) => {
    const through = connection
    const answer = await change()
    asking ??= ask()
    const count = await asking
    if (count < replicas || through !== connection)
      throw unavailable(
        `metadata store: ${through === connection ? count : 0} of ${replicas} replicas confirmed the change`,
      )
    return answer
  }
}
