interface Queue {
  shared: number
  exclusive: boolean
  readonly waiting: Array<{ readonly exclusive: boolean; readonly enter: () => void }>
}

/**
 * Locks by digest, first come first served. Whoever makes a blob's file or its record (commit, adoption) shares; who
 * unlinks the file (sweep) is alone. So many can commit the same digest at once, and none of them between the sweep's
 * last look and its unlink.
 */
export class DigestLocks {
  readonly #queues = new Map<string, Queue>()

  share(digest: string): Promise<Disposable> {
    return this.#enter(digest, false)
  }

  exclude(digest: string): Promise<Disposable> {
    return this.#enter(digest, true)
  }

  async #enter(digest: string, exclusive: boolean): Promise<Disposable> {
    let queue = this.#queues.get(digest)
    if (queue === undefined) {
      queue = { shared: 0, exclusive: false, waiting: [] }
      this.#queues.set(digest, queue)
    }
    const entered = new Promise<void>((enter) => queue.waiting.push({ exclusive, enter }))
    this.#admit(digest, queue)
    await entered
    let left = false
    return {
      [Symbol.dispose]: () => {
        if (left) return
        left = true
        if (exclusive) queue.exclusive = false
        else queue.shared--
        this.#admit(digest, queue)
      },
    }
  }

  #admit(digest: string, queue: Queue): void {
    for (let first = queue.waiting[0]; first !== undefined; first = queue.waiting[0]) {
      if (queue.exclusive || (first.exclusive && queue.shared > 0)) return
      queue.waiting.shift()
      if (first.exclusive) queue.exclusive = true
      else queue.shared++
      first.enter()
    }
    if (queue.shared === 0 && !queue.exclusive) this.#queues.delete(digest)
  }
}
