/** A bound on how many hold something at once; those who wait are served in turn. */
export interface Slots {
  /** Waits for a slot; gives the function that frees it (once, whatever how often called). */
  take(signal?: AbortSignal): Promise<() => void>
  /** A slot if one is free now and nobody waits. */
  tryTake(): (() => void) | undefined
}

/** @param count how many there are; as a function it is asked each time, and may answer otherwise than before */
export function createSlots(count: number | (() => number)): Slots {
  const limit = typeof count === 'function' ? count : () => count
  let taken = 0
  const waiting = new Set<() => void>()

  const release = () => {
    let held = true
    return () => {
      if (!held) return
      held = false
      taken -= 1
      serveWaiting()
    }
  }
  const serveWaiting = () => {
    for (const serve of waiting) {
      if (taken >= limit()) return
      waiting.delete(serve)
      taken += 1
      serve()
    }
  }
  const tryTake = () => {
    // There may be more slots than before.
    serveWaiting()
    if (taken >= limit()) return undefined
    taken += 1
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
