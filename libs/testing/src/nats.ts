import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { firstWords, freePort } from './ports.ts'
import { withWorld } from './redis.ts'
import { type ServerProcess, startServer } from './server-process.ts'
import { tempWorld } from './temp-world.ts'

/** A private nats-server with JetStream on a loopback port, the same one after each restart. */
export interface TestNats extends ServerProcess {
  readonly url: string
  /** Removes the JetStream store; only while it does not run. */
  wipe(): Promise<void>
}

/** Starts Debian's nats-server with JetStream. */
export async function startNats(options: { dir?: string } = {}): Promise<TestNats> {
  const world = options.dir === undefined ? await tempWorld({ name: 'nats', tmpfs: true }) : undefined
  const dir = options.dir ?? (world?.path as string)
  const store = join(dir, 'jetstream-store')
  await mkdir(dir, { recursive: true })
  let failure: unknown
  // Between finding a free port and using it another process may take it.
  for (let attempt = 0; attempt < 3; attempt++) {
    const port = await freePort()
    try {
      const server = await startServer({
        command: 'nats-server',
        args: ['--addr', '127.0.0.1', '--port', String(port), '--jetstream', '--store_dir', store],
        log: join(dir, 'nats.log'),
        ready: async () => (await firstWords({ host: '127.0.0.1', port })).startsWith('INFO '),
      })
      return withWorld(server, world, {
        url: `nats://127.0.0.1:${port}`,
        async wipe() {
          if (server.pid !== undefined) throw new Error('the store can be wiped only while nats-server does not run')
          await rm(store, { recursive: true, force: true })
        },
      })
    } catch (error) {
      failure = error
    }
  }
  await world?.[Symbol.asyncDispose]()
  throw failure
}
