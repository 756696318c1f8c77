import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startServer, type TempWorld } from '@flotilla/testing'
import { runCtr } from './ctr.ts'
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
  const processes = () => processTree(server.pid, ['redis-server', 'nats-server'])
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

/** A process as `main` and those of its children that run one of the named programs. */
async function processTree(pid: number | undefined, programs: readonly string[]): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  if (pid === undefined) return found
  found.set('main', pid)
  for (const entry of await readdir('/proc')) {
    const status = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '')
    const match = /^(\d+) \((.*)\) \S (\d+) /.exec(status)
    if (match === null || Number(match[3]) !== pid) continue
    const program = programs.find((name) => name.startsWith(match[2] ?? '-'))
    if (program !== undefined) found.set(program, Number(match[1]))
  }
  return found
}
