import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { VersionDefinition } from '@flotilla/api/containerd/services/version/v1/version'
import { makeCall } from '@flotilla/rpc'
import { startServer, type TempWorld } from '@flotilla/testing'
import { connectTo } from '../e2e/harness/clients.ts'
import { containerdConfig } from '../e2e/harness/containerd.ts'
import { childrenOf } from '../e2e/harness/processes.ts'
import { repository } from '../e2e/harness/versions.ts'
import { cpuOf } from './machine.ts'

export type SideName = 'ours' | 'theirs'

/** A daemon under measurement, ours or theirs, in directories of its own. */
export interface Side extends AsyncDisposable {
  readonly name: SideName
  /** Path of its socket. */
  readonly address: string
  readonly root: string
  /** Milliseconds from its start until it answered. */
  readonly readyAfter: number
  /** Runs the peer's `ctr` against it, in namespace `bench`, and gives its standard output. */
  ctr(...args: readonly string[]): Promise<string>
  /** The same with a shell around it: `$CTR` is `ctr` with address and namespace. */
  shell(script: string): Promise<string>
  /** Ends and removes all tasks that there still are. */
  removeTasks(): Promise<void>
  /** Milliseconds of processor time that the daemon and its stores have used so far, without clients and shims. */
  cpu(): number
  /** Bytes of memory that only the daemon and its stores use, shared libraries in proportion. */
  memory(): number
}

export const namespace = 'bench'

const execute = promisify(execFile)
const longestCommand = 600_000

/** @param peer directory of the containerd, ctr and shim to use; both sides use the same ctr and shim */
export async function startSide(name: SideName, world: TempWorld, peer: string): Promise<Side> {
  const [root, state, address] = [world.join('root'), world.join('state'), world.join('d.sock')]
  const config = world.join('config.toml')
  await writeFile(config, containerdConfig(root, state, address))
  const env = { PATH: `${peer}${delimiter}${process.env.PATH}` }
  const start = performance.now()
  let readyAfter = 0
  const server = await startServer({
    ...(name === 'ours'
      ? {
          command: join(repository, 'tools/standalone'),
          args: ['--root', root, '--state', state, '--address', address],
        }
      : { command: join(peer, 'containerd'), args: ['--config', config] }),
    log: world.join('daemon.log'),
    env,
    every: 2,
    ready: async () => {
      using clients = connectTo(address)
      await clients.of(VersionDefinition).version({}, makeCall({ timeout: 5_000 }))
      readyAfter = performance.now() - start
      return true
    },
  })
  const pid = server.pid
  if (pid === undefined) throw new Error(`${name} has ended: ${server.log}`)
  const pids = () => [pid, ...childrenOf(pid).flatMap(([program, child]) => (/redis|nats/.test(program) ? child : []))]
  const run = async (command: string, args: readonly string[]) => {
    const options = { env: { ...process.env, ...env }, timeout: longestCommand, maxBuffer: 1024 ** 3 }
    return (await execute(command, args, options)).stdout
  }
  const ctr = [join(peer, 'ctr'), '--address', address, '--namespace', namespace] as const
  const shell = (script: string) => run('bash', ['-ceu', `CTR='${ctr.join(' ')}'\n${script}`])
  return {
    name,
    address,
    root,
    readyAfter,
    ctr: (...args) => run(ctr[0], [...ctr.slice(1), ...args]),
    shell,
    async removeTasks() {
      await shell('$CTR tasks ls -q | xargs -r -n1 $CTR tasks rm -f >/dev/null')
    },
    cpu: () => pids().reduce((sum, one) => sum + cpuOf(one), 0),
    memory: () => pids().reduce((sum, one) => sum + memoryOf(one), 0),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

function memoryOf(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1]) * 1024
}
