import { randomUUID } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { PrepareRequest, PrepareResponse } from '@flotilla/api/flotilla/peer/v1/peer'
import { mkfifo } from '@flotilla/linux'

/** Milliseconds that a client has to open FIFOs that were made for it. */
export const openedWithin = 15_000

/** FIFOs on this node for clients that attach to processes of other nodes. */
export class Prepared {
  readonly #directory: string
  readonly #timers = new Map<string, NodeJS.Timeout>()

  /** What an earlier process left there is of no use to anybody. */
  constructor(directory: string) {
    this.#directory = directory
    rmSync(directory, { recursive: true, force: true })
  }

  make({ stderr, stdin }: PrepareRequest): PrepareResponse {
    const own = join(this.#directory, randomUUID())
    mkdirSync(own, { recursive: true, mode: 0o700 })
    const path = (name: string, wanted: boolean) => (wanted ? join(own, name) : '')
    const paths = { stdin: path('stdin', stdin), stdout: path('stdout', true), stderr: path('stderr', stderr) }
    for (const one of Object.values(paths)) if (one !== '') mkfifo(one)
    const timer = setTimeout(() => this.remove(paths.stdout), openedWithin + 5_000)
    timer.unref()
    this.#timers.set(own, timer)
    return paths
  }

  has(path: string): boolean {
    return this.#timers.has(dirname(path))
  }

  /** The client is there: they stay until they are removed. */
  keep(path: string): void {
    clearTimeout(this.#timers.get(dirname(path)))
  }

  /** Removes the FIFOs made together with this one. */
  remove(path: string): void {
    const own = dirname(path)
    clearTimeout(this.#timers.get(own))
    if (this.#timers.delete(own)) rmSync(own, { recursive: true, force: true })
  }
}
