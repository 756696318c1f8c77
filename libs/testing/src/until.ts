import { setTimeout as sleep } from 'node:timers/promises'

export interface UntilOptions {
  /** Milliseconds before it gives up; generous by default, since machines are slow sometimes. */
  readonly timeout?: number
  /** Milliseconds between two looks. */
  readonly every?: number
  /** Says why waiting is pointless (a server that has exited); checked at each look. */
  readonly dead?: () => string | undefined
}

/**
 * Waits until a look answers something other than `undefined` or `false`, and gives that. An error in the look counts
 * as "not yet" and is the cause of the error in the end.
 */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  options: UntilOptions = {},
): Promise<T> {
  const end = performance.now() + (options.timeout ?? 30_000)
  let last: unknown
  for (;;) {
    try {
      const seen = await look()
      if (seen !== undefined && seen !== false) return seen
      last = undefined
    } catch (error) {
      last = error
    }
    const dead = options.dead?.()
    if (dead !== undefined) throw new Error(`waited for ${what}, but ${dead}`, { cause: last })
    if (performance.now() > end) {
      const why = last === undefined ? '' : `: ${last instanceof Error ? last.message : String(last)}`
      throw new Error(`waited in vain for ${what}${why}`, { cause: last })
    }
    await sleep(options.every ?? 20)
  }
}
