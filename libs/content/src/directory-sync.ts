import { closeSync, fsync, openSync } from 'node:fs'
import { promisify } from 'node:util'

const sync = promisify(fsync)

/**
 * Makes names in a directory durable. One sync serves all who asked before it began, so hundreds of commits at once do
 * not wait for hundreds of syncs one after another.
 */
export class DirectorySync {
  readonly #next = new Map<string, Promise<void>>()
  readonly #running = new Map<string, Promise<void>>()

  sync(directory: string): Promise<void> {
    // A sync that already runs may have missed our name: only one that starts after this call will do.
    let next = this.#next.get(directory)
    if (next === undefined) {
      const previous = this.#running.get(directory) ?? Promise.resolve()
      next = previous
        .catch(() => {})
        .then(() => {
          this.#next.delete(directory)
          const running = syncDirectory(directory).finally(() => {
            if (this.#running.get(directory) === running) this.#running.delete(directory)
          })
          this.#running.set(directory, running)
          return running
        })
      this.#next.set(directory, next)
    }
    return next
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const fd = openSync(directory, 'r')
  try {
    await sync(fd)
  } finally {
    closeSync(fd)
  }
}
