/**
 * The next message of a stream; undefined at its end. Rejects with the signal's reason when that comes first. The
 * iterator is not told: one that waits for a client that has gone may never answer.
 */
export async function nextMessage<T>(iterator: AsyncIterator<T>, signal: AbortSignal): Promise<T | undefined> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  // A race with one promise for the whole stream would keep every message of it in memory.
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    const next = await Promise.race([iterator.next(), aborted.promise])
    return next.done ? undefined : next.value
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
