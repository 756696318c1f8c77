import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { firstWords } from './ports.ts'
import { type ServerProcess, startServer } from './server-process.ts'
import { tempWorld } from './temp-world.ts'

/** A private redis-server. Its data is on disk before it acknowledges, so `kill()` then `restart()` loses nothing. */
export interface TestRedis extends ServerProcess {
  /** What ioredis connects to: the path of its unix socket. */
  readonly url: string
}

export interface TestRedisOptions {
  /** Where it keeps its data, instead of a world of its own; left behind when it goes. */
  readonly dir?: string
  /** Acknowledge without waiting for the disk; for tests that ask nothing about crashes and run faster so. */
  readonly relaxed?: boolean
}

/** Starts Debian's redis-server on a unix socket, without a TCP port. */
export async function startRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  const world = options.dir === undefined ? await tempWorld({ name: 'redis', tmpfs: true }) : undefined
  const dir = options.dir ?? (world?.path as string)
  await mkdir(dir, { recursive: true })
  const path = join(dir, 'redis.sock')
  const settings = ['--port', '0', '--unixsocket', path, '--unixsocketperm', '700', '--dir', dir, '--save', '']
  const durable = ['--appendonly', 'yes', '--appendfsync', options.relaxed ? 'no' : 'always']
  try {
    const server = await startServer({
      command: 'redis-server',
      args: [...settings, ...durable],
      log: join(dir, 'redis.log'),
      ready: async () => (await firstWords({ path }, 'PING\r\n')).startsWith('+PONG'),
    })
    return withWorld(server, world, { url: path })
  } catch (error) {
    await world?.[Symbol.asyncDispose]()
    throw error
  }
}

/** Adds properties to a server and lets its world go with it; getters stay getters. */
export function withWorld<T extends object>(
  server: ServerProcess,
  world: AsyncDisposable | undefined,
  more: T,
): ServerProcess & T {
  const all = Object.create(server, Object.getOwnPropertyDescriptors(more))
  Object.defineProperty(all, Symbol.asyncDispose, {
    value: async () => {
      await server[Symbol.asyncDispose]()
      await world?.[Symbol.asyncDispose]()
    },
  })
  return all as ServerProcess & T
}
