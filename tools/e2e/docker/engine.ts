import { execFile } from 'node:child_process'
import { existsSync, globSync, readdirSync } from 'node:fs'
import { mkdir, rm, rmdir, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { buildImage, dockerArchive, startServer, type TempWorld } from '@flotilla/testing'
import type { CtrResult } from '../harness/ctr.ts'
import type { System } from '../harness/system.ts'
import { repository } from '../harness/versions.ts'

const run = promisify(execFile)
const home = join(repository, '.work/docker/28')
const programs = [join(home, 'usr/sbin'), join(home, 'usr/bin'), process.env.PATH].join(':')

/** Whether tools/install could get Docker. */
export const dockerIsPresent = existsSync(join(home, 'VERSION'))

/** Where Docker keeps images: in our content and snapshots, or in directories of its own. */
export type ImageStore = 'containerd image store' | 'own graph driver'

/** An unmodified dockerd over a system's socket, in a network of its own with a registry in it. */
export interface Engine {
  /** Of the registry in dockerd's network: HOST:PORT. */
  readonly registry: string
  /** What dockerd logs. */
  readonly log: string
  /** Runs `docker` to its end, within two minutes. */
  docker(args: readonly string[], input?: string): Promise<CtrResult>
  /** Runs `docker`, which has to succeed; answers what it printed, without white space around it. */
  ok(...args: string[]): Promise<string>
  /** Runs `docker` on a terminal, with words that need no quoting; answers what was on it. */
  terminal(...args: string[]): Promise<string>
  /** Runs a program in dockerd's network and answers what it printed. */
  inNetwork(...command: string[]): Promise<string>
}

/** Starts dockerd, and a busybox image `box:1` in it; the world ends and removes all of it. */
export async function startEngine(world: TempWorld, system: System, store: ImageStore): Promise<Engine> {
  const socket = world.join('docker.sock')
  const group = basename(world.path)
  const env = { PATH: programs, DOCKER_HOST: `unix://${socket}`, DOCKER_CONFIG: world.join('client') }
  await mkdir(world.join('client/cli-plugins'), { recursive: true })
  for (const plugin of readdirSync(join(home, 'usr/libexec/docker/cli-plugins')))
    await symlink(join(home, 'usr/libexec/docker/cli-plugins', plugin), world.join('client/cli-plugins', plugin))
  const settings = {
    containerd: system.address,
    'data-root': world.join('docker'),
    'exec-root': world.join('docker-exec'),
    pidfile: world.join('docker.pid'),
    hosts: [`unix://${socket}`],
    'cgroup-parent': `/${group}`,
    features: { 'containerd-snapshotter': store === 'containerd image store' },
    ...(store === 'own graph driver' ? { 'storage-driver': 'overlay2' } : {}),
  }
  await writeFile(world.join('daemon.json'), JSON.stringify(settings))
  removesSharedTraces(world, group)

  async function docker(args: readonly string[], input?: string): Promise<CtrResult> {
    const running = run('docker', args, { env: { ...process.env, ...env }, timeout: 120_000, killSignal: 'SIGKILL' })
    running.child.stdin?.on('error', () => {}).end(input)
    return running.then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, stdout, stderr, message }) => ({
        code: typeof code === 'number' ? code : -1,
        stdout,
        stderr: stderr || message,
      }),
    )
  }
  async function ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await docker(args)
    if (code !== 0) throw new Error(`docker ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`)
    return stdout.trim()
  }
  async function terminal(...args: string[]): Promise<string> {
    // Input stays open: its end would be typed into the command.
    const options = { env: { ...process.env, ...env }, timeout: 120_000, killSignal: 'SIGKILL' } as const
    return (await run('script', ['-qec', `docker ${args.join(' ')}`, '/dev/null'], options)).stdout
  }
  const command = [
    '--net',
    'sh',
    '-c',
    'ip link set lo up && exec dockerd --config-file "$0"',
    world.join('daemon.json'),
  ]
  const daemon = world.own(
    await startServer({
      command: 'unshare',
      args: command,
      log: world.join('dockerd.log'),
      env: { PATH: programs },
      ready: async () => (await docker(['version'])).code === 0,
    }),
  )
  // Before its end by SIGKILL, so that it takes its mounts and networks with it.
  world.cleanup(() => daemon.kill('SIGTERM'))
  const inNetwork = async (...program: string[]) =>
    (await run('nsenter', ['--net', `--target=${daemon.pid}`, '--', ...program], { timeout: 30_000 })).stdout

  const registry = '127.0.0.1:5000'
  const storage = { filesystem: { rootdirectory: world.join('registry') } }
  await writeFile(world.join('registry.yml'), JSON.stringify({ version: '0.1', storage, http: { addr: registry } }))
  world.own(
    await startServer({
      command: 'nsenter',
      args: ['--net', `--target=${daemon.pid}`, '--', 'docker-registry', 'serve', world.join('registry.yml')],
      log: world.join('registry.log'),
      ready: async () => (await inNetwork('busybox', 'wget', '-q', '-O', '-', `http://${registry}/v2/`)) !== '',
    }),
  )
  const image = await buildImage({
    layers: [[{ name: 'etc/motd', content: 'hello from a layer\n' }]],
    config: { Cmd: ['sh'] },
  })
  await writeFile(world.join('box.tar'), await dockerArchive(image, 'box:1'))
  await ok('load', '-i', world.join('box.tar'))
  return { registry, log: daemon.log, docker, ok, terminal, inNetwork }
}

/** What dockerd leaves outside of the directories it was given. */
function removesSharedTraces(world: TempWorld, group: string): void {
  const fresh = ['/run/docker', '/etc/docker'].filter((path) => !existsSync(path))
  world.cleanup(async () => {
    for (const path of fresh) await rm(path, { recursive: true, force: true })
    // Only groups without a process can be removed.
    for (const path of globSync(`/sys/fs/cgroup/*/${group}{/**/,}`).sort().reverse()) await rmdir(path)
  })
}
