import { join } from 'node:path'
import { startServer, type TempWorld } from '@flotilla/testing'
import { runCtr } from './ctr.ts'
import { childrenOf } from './processes.ts'
import type { System } from './system.ts'
import { debian12, repository } from './versions.ts'

/** Everything in one process, with its own redis-server and nats-server. */
export async function startStandalone(world: TempWorld, more: readonly string[] = []): Promise<System> {
  const [root, state, address] = [world.join('root'), world.join('state'), world.join('containerd.sock')]
  const log = world.join('standalone.log')
  const server = await startServer({
    command: join(repository, 'tools/standalone'),
    args: ['--root', root, '--state', state, '--address', address, '--log-level', 'debug', ...more],
    log,
    ready: async () => (await runCtr({ address, version: debian12, args: ['version'] })).code === 0,
  })
  async function processes() {
    const found = new Map<string, number>()
    if (server.pid === undefined) return found
    found.set('main', server.pid)
    for (const [program, pid] of childrenOf(server.pid)) if (/redis|nats/.test(program)) found.set(program, pid)
    return found
  }
  return {
    kind: 'standalone',
    address,
    root,
    state,
    logs: [log],
    processes,
    kill: () => server.kill(),
    start: () => server.restart(),
    stop: () => server.kill('SIGTERM'),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}
