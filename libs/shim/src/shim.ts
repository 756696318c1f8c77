import { SandboxDefinition } from '@flotilla/api/containerd/runtime/sandbox/v1/sandbox'
import { TaskDefinition } from '@flotilla/api/containerd/task/v3/task'
import { hasCode, makeCall, type ServiceOf, status, unimplemented } from '@flotilla/rpc'
import { connectTtrpc, type TtrpcConnection, ttrpcClientOf } from '@flotilla/ttrpc'
import { type Bootstrap, socketPath } from './bootstrap.ts'

/** The task API as a shim serves it; versions 2 and 3 have the same messages. */
export type ShimTasks = ServiceOf<typeof TaskDefinition>

/** The sandbox API, of the shims that have one. */
export type ShimSandboxes = ServiceOf<typeof SandboxDefinition>

const apis = {
  2: { ...TaskDefinition, fullName: 'containerd.task.v2.Task' },
  3: TaskDefinition,
} as const

/** Milliseconds that a shim may take to say who it is. */
const helloTimeout = 5_000

/**
 * One kept connection to a shim. Its close means that the shim died, unless the shim can be reached again at once.
 */
export class Shim implements Disposable {
  readonly address: string
  /** Process id of the shim. */
  readonly pid: number
  /** Resolves when the shim is gone; never after {@link Shim.[Symbol.dispose]}. */
  readonly ended: Promise<void>
  readonly #namespace: string
  readonly #id: string
  #version: 2 | 3
  #connection: TtrpcConnection
  #tasks: ShimTasks
  #reconnected = Promise.withResolvers<void>()
  #hasEnded = false
  #disposed = false

  private constructor(bootstrap: Bootstrap, namespace: string, id: string, version: 2 | 3, up: Contact) {
    this.address = bootstrap.address
    this.#namespace = namespace
    this.#id = id
    this.#version = version
    this.#connection = up.connection
    this.#tasks = up.tasks
    this.pid = up.pid
    const { promise, resolve } = Promise.withResolvers<void>()
    this.ended = promise
    void this.#watch(resolve)
  }

  /** UNAVAILABLE when nobody listens, UNIMPLEMENTED for a protocol other than ttrpc over a unix socket. */
  static async connect(bootstrap: Bootstrap, namespace: string, id: string, signal?: AbortSignal): Promise<Shim> {
    if (bootstrap.protocol !== 'ttrpc') throw unimplemented(`shim protocol "${bootstrap.protocol}"`)
    const wanted = bootstrap.version >= 3 ? 3 : 2
    try {
      return new Shim(bootstrap, namespace, id, wanted, await contact(bootstrap.address, namespace, id, wanted, signal))
    } catch (error) {
      if (!hasCode(error, status.UNIMPLEMENTED)) throw error
      const other = wanted === 3 ? 2 : 3
      return new Shim(bootstrap, namespace, id, other, await contact(bootstrap.address, namespace, id, other, signal))
    }
  }

  /** As {@link Shim.connect}, to a shim that listens but is not asked who it is: it does not answer now. */
  static async connectUnasked(bootstrap: Bootstrap, namespace: string, id: string, pid: number): Promise<Shim> {
    const version = bootstrap.version >= 3 ? 3 : 2
    const connection = await connectTtrpc(socketPath(bootstrap.address))
    const up = { connection, tasks: ttrpcClientOf(apis[version], connection), pid }
    return new Shim(bootstrap, namespace, id, version, up)
  }

  get tasks(): ShimTasks {
    return this.#tasks
  }

  /** UNIMPLEMENTED, call by call, from a shim of containerd 1.6. */
  get sandboxes(): ShimSandboxes {
    return ttrpcClientOf(SandboxDefinition, this.#connection)
  }

  get version(): 2 | 3 {
    return this.#version
  }

  /** Whether we let go of it. */
  get isReleased(): boolean {
    return this.#disposed
  }

  /** Whether the shim can be called; while a lost connection is being made again, waits for how that ends. */
  async alive(): Promise<boolean> {
    if (this.#connection.isClosed && !this.#disposed) await Promise.race([this.ended, this.#reconnected.promise])
    return !this.#hasEnded
  }

  /** Closes the connection and leaves the shim running. */
  [Symbol.dispose](): void {
    this.#disposed = true
    this.#connection.close()
    this.#reconnected.resolve()
  }

  async #watch(resolve: () => void): Promise<void> {
    for (;;) {
      await this.#connection.closed
      if (this.#disposed) return
      try {
        const again = await contact(this.address, this.#namespace, this.#id, this.#version)
        if (again.pid !== this.pid) {
          again.connection.close()
          throw new Error('another shim listens there now')
        }
        this.#connection = again.connection
        this.#tasks = again.tasks
        this.#reconnected.resolve()
        this.#reconnected = Promise.withResolvers()
        // Disposed while it was being reached: the new connection has to go too.
        if (this.#disposed) again.connection.close()
      } catch {
        if (this.#disposed) return
        this.#hasEnded = true
        return resolve()
      }
    }
  }
}

interface Contact {
  readonly connection: TtrpcConnection
  readonly tasks: ShimTasks
  readonly pid: number
}

async function contact(
  address: string,
  namespace: string,
  id: string,
  version: 2 | 3,
  signal?: AbortSignal,
): Promise<Contact> {
  const connection = await connectTtrpc(socketPath(address), signal)
  try {
    const tasks = ttrpcClientOf(apis[version], connection)
    const hello = await tasks.connect({ id }, makeCall({ namespace, signal, timeout: helloTimeout }))
    return { connection, tasks, pid: hello.shimPid }
  } catch (error) {
    connection.close()
    throw error
  }
}
