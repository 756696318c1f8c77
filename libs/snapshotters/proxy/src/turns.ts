/** Lets work on one id begin when the work on it that was asked for earlier has ended. */
export function createTurns(): { inTurn<T>(id: string, work: () => Promise<T>): Promise<T> } {
  const last = new Map<string, Promise<unknown>>()
  return {
    async inTurn(id, work) {
      const before = last.get(id)
      const mine = (async () => {
        await before?.catch(() => {})
        return await work()
      })()
      last.set(id, mine)
      try {
        return await mine
      } finally {
        if (last.get(id) === mine) last.delete(id)
      }
    },
  }
}
