/** Messages that are pushed in and read out, by one reader. */
export interface Queue<T> extends AsyncIterable<T> {
  push(message: T): void
  /** Resolves when the reader has come back for more than was pushed. */
  taken(): Promise<void>
  /** What was pushed is still read. */
  end(): void
}

export function queue<T>(): Queue<T> {
  const waiting: T[] = []
  let ended = false
  let wake = () => {}
  let drained = Promise.withResolvers<void>()
  return {
    taken: () => drained.promise,
    push(message) {
      drained = Promise.withResolvers<void>()
      waiting.push(message)
      wake()
    },
    end() {
      ended = true
      wake()
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        while (waiting.length > 0) yield waiting.shift() as T
        drained.resolve()
        if (ended) return
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
  }
}
