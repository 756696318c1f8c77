import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startServer, type TempWorld } from '@flotilla/testing'
import { runCtr } from './ctr.ts'
import { childrenOf } from './processes.ts'
import type { System } from './system.ts'
import { debian12, repository } from './versions.ts'

/** Each service as a process of its own, by tools/services; its keeper stays in the foreground, as our child. */
export async function startServices(world: TempWorld, more: readonly string[] = []): Promise<System> {
  const [root, state, address] = [world.join('root'), world.join('state'), world.join('containerd.sock')]
  const keeperLog = world.join('keeper.log')
  const server = await startServer({
    command: join(repository, 'tools/services'),
    args: [
      'up',
      '--foreground',
      '--root',
      root,
      '--state',
      state,
      '--address',
      address,
      '--log-level',
      'debug',
      ...more,
    ],
    log: keeperLog,
    timeout: 60_000,
    // Ready when the service behind the last of these is: the gateway, introspection, and what a run needs.
    ready: async () => {
      for (const args of [['version'], ['tasks', 'ls'], ['snapshots', 'ls'], ['images', 'ls'], ['content', 'ls']])
        if ((await runCtr({ address, version: debian12, namespace: 'probe', args })).code !== 0) return false
      return true
    },
  })

  function processes(): Map<string, number> {
    const found = new Map<string, number>()
    if (server.pid === undefined) return found
    found.set('keeper', server.pid)
    for (const [program, pid] of childrenOf(server.pid)) if (/redis|nats/.test(program)) found.set(program, pid)
    const record = join(state, 'services/keeper.json')
    const { services = {} } = JSON.parse(readFileSync(record, 'utf8')) as { services?: Record<string, number> }
    for (const [name, pid] of Object.entries(services)) found.set(name, pid)
    return found
  }

  const logs = join(state, 'services/log')
  return {
    kind: 'services',
    address,
    root,
    state,
    get logs() {
      return [keeperLog, ...(existsSync(logs) ? readdirSync(logs).map((name) => join(logs, name)) : [])]
    },
    processes: async () => processes(),
    async kill() {
      const all = processes()
      // The keeper first, so that it starts none of the others again.
      await server.kill()
      for (const [name, pid] of all) if (name !== 'keeper') killQuietly(pid)
    },
    start: () => server.restart(),
    stop: () => server.kill('SIGTERM'),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone already.
  }
}
