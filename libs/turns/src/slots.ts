/** A bound on how many hold something at once; those who wait are served in turn. */
export interface Slots {
  /** Waits for a slot; gives the function that frees it (once, whatever how often called). */
  take(signal?: AbortSignal): Promise<() => void>
  /** A slot if one is free now and nobody waits. */
  tryTake(): (() => void) | undefined
}

export function createSlots(count: number): Slots {
  let free = count
  const waiting = new Set<() => void>()

  const release = () => {
    let held = true
    return () => {
      if (!held) return
      held = false
      const [next] = waiting
      if (next === undefined) free += 1
      else {
        waiting.delete(next)
        next()
      }
    }
  }
  const tryTake = () => {
    if (free === 0) return undefined
    free -= 1
    return release()
  }

  return {
    tryTake,
    take(signal) {
      signal?.throwIfAborted()
      const slot = tryTake()
      if (slot !== undefined) return Promise.resolve(slot)
      return new Promise((resolve, reject) => {
        const serve = () => {
          signal?.removeEventListener('abort', giveUp)
          resolve(release())
        }
        const giveUp = () => {
          waiting.delete(serve)
          reject(signal?.reason)
        }
        waiting.add(serve)
        signal?.addEventListener('abort', giveUp, { once: true })
      })
    },
  }
}
