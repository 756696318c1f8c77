// Runs every service of a node as its own process, each with its own address, beside a redis-server and a nats-server.
// `up` leaves a keeper process behind that starts again whichever of them dies, as a service manager would.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { lockDirectory, parts } from '@flotilla/compose'
import { startEmbeddedNats, startEmbeddedRedis } from '@flotilla/embedded'
import { serving } from './serving.ts'

const help = `services: runs each service as a process of its own on this machine

  tools/services up      [options]   start them and answer when all are ready
  tools/services status  [options]   one line for each: name, process id, state, address
  tools/services down    [options]   stop them all; containers go on

Options:
      --root DIR         directory for what must survive a reboot (/var/lib/flotilla)
      --state DIR        directory for what lives until the next reboot (/run/flotilla)
  -a, --address SOCKET   path of the node socket (STATE/containerd.sock)
      --node-name NAME   unique name of this machine
      --redis URL        metadata store to use instead of our own
      --nats URL         message bus to use instead of our own
  -l, --log-level LEVEL  of every service (info)
      --metrics-address HOST:PORT   Prometheus endpoint of every service; port 0: a free one for each, told in its log
      --foreground       with up: stay, until SIGTERM
`

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    root: { type: 'string', default: '/var/lib/flotilla' },
    state: { type: 'string', default: '/run/flotilla' },
    address: { type: 'string', short: 'a' },
    'node-name': { type: 'string' },
    redis: { type: 'string' },
    nats: { type: 'string' },
    'log-level': { type: 'string', short: 'l', default: 'info' },
    'metrics-address': { type: 'string', default: '' },
    foreground: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h' },
  },
})

const root = resolve(values.root)
const state = resolve(values.state)
const socket = resolve(values.address ?? join(state, 'containerd.sock'))
const folder = join(state, 'services')
const here = fileURLToPath(new URL('.', import.meta.url))
const keeperFile = join(folder, 'keeper.json')
const names = [...parts.map((part) => part.name), 'gateway']
const addressOf = (name: string) => (name === 'gateway' ? `unix://${socket}` : `unix://${join(folder, `${name}.sock`)}`)

interface Keeper {
  readonly pid: number
  readonly services: Record<string, number>
}

function keeper(): Keeper | undefined {
  try {
    const found = JSON.parse(readFileSync(keeperFile, 'utf8')) as Keeper
    process.kill(found.pid, 0)
    return found
  } catch {
    return undefined
  }
}

/** Runs until told to stop; keeps every service running. */
async function keep(): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o711 })
  mkdirSync(root, { recursive: true, mode: 0o711 })
  const log = join(folder, 'log')
  mkdirSync(log, { recursive: true })
  const stopped = new Promise<void>((done) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => done())
  })
  await using stores = new AsyncDisposableStack()
  stores.use(await lockDirectory(root))
  const redis =
    values.redis ?? stores.use(await startEmbeddedRedis({ data: join(root, 'redis'), run: join(state, 'redis') })).url
  const nats =
    values.nats ?? stores.use(await startEmbeddedNats({ data: join(root, 'nats'), run: join(state, 'nats') })).url
  const config = join(folder, 'config.toml')
  const lines = [
    ['root', root],
    ['state', state],
    ['address', socket],
    ...(values['node-name'] ? [['node_name', values['node-name']]] : []),
  ].map(([key, value]) => `${key} = ${JSON.stringify(value)}`)
  const services = names
    .filter((name) => name !== 'gateway')
    .map((name) => `${JSON.stringify(name)} = ${JSON.stringify(addressOf(name))}`)
  // The bus's password is in it.
  writeFileSync(
    config,
    `${lines.join('\n')}\n[redis]\nurl = ${JSON.stringify(redis)}\n[nats]\nurl = ${JSON.stringify(nats)}\n[log]\nlevel = ${JSON.stringify(values['log-level'])}\n[metrics]\naddress = ${JSON.stringify(values['metrics-address'])}\n[services]\n${services.join('\n')}\n`,
    { mode: 0o600 },
  )

  const running = new Map<string, ChildProcess>()
  let stopping = false
  const record = () => {
    const about: Keeper = {
      pid: process.pid,
      services: Object.fromEntries([...running].map(([name, child]) => [name, child.pid ?? 0])),
    }
    writeFileSync(keeperFile, JSON.stringify(about))
  }
  function run(name: string): void {
    const out = openSync(join(log, `${name}.log`), 'a')
    const child = spawn(
      'setpriv',
      ['--pdeathsig', 'TERM', process.execPath, join(here, 'start.mjs'), name, '--config', config],
      { stdio: ['ignore', out, out] },
    )
    closeSync(out)
    running.set(name, child)
    const again = () => {
      running.delete(name)
      if (!stopping) setTimeout(() => stopping || run(name), 200)
    }
    child.once('error', again)
    child.once('exit', again)
    record()
  }
  for (const name of names) run(name)
  await stopped
  stopping = true
  // The gateway first, so that nobody meets a service that has just gone.
  for (const name of [...names].reverse()) {
    const child = running.get(name)
    if (child === undefined) continue
    const ended = new Promise((done) => child.once('exit', done))
    child.kill('SIGTERM')
    await Promise.race([ended, sleep(10_000).then(() => child.kill('SIGKILL'))])
  }
  rmSync(keeperFile, { force: true })
}

async function up(): Promise<number> {
  if (keeper() !== undefined) {
    process.stderr.write(`services are running already below ${state}\n`)
    return 1
  }
  if (values.foreground) {
    await keep()
    return 0
  }
  mkdirSync(folder, { recursive: true, mode: 0o711 })
  mkdirSync(root, { recursive: true, mode: 0o711 })
  // Refused here, where somebody reads it; the keeper's own lock follows.
  await (await lockDirectory(root))[Symbol.asyncDispose]()
  const out = openSync(join(folder, 'keeper.log'), 'a')
  const args = process.argv.slice(2).filter((arg) => arg !== 'up')
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), 'up', '--foreground', ...args], {
    detached: true,
    stdio: ['ignore', out, out],
  })
  child.unref()
  const end = Date.now() + 60_000
  let waiting = names
  while (waiting.length > 0) {
    if (child.exitCode !== null || Date.now() > end) {
      process.stderr.write(`not ready: ${waiting.join(', ')}; logs are in ${folder}\n`)
      if (child.exitCode === null) child.kill('SIGTERM')
      return 1
    }
    const states = await Promise.all(waiting.map((name) => serving(addressOf(name), 1_000)))
    waiting = waiting.filter((_, index) => !states[index])
    await sleep(50)
  }
  return await status()
}

async function status(): Promise<number> {
  const found = keeper()
  const states = await Promise.all(names.map((name) => serving(addressOf(name), 1_000)))
  names.forEach((name, index) => {
    const pid = found?.services[name]
    process.stdout.write(
      `${name.padEnd(14)} ${String(pid ?? '-').padStart(7)}  ${states[index] ? 'serving' : 'down   '}  ${addressOf(name)}\n`,
    )
  })
  return states.every(Boolean) ? 0 : 1
}

async function down(): Promise<number> {
  const found = keeper()
  if (found === undefined) return 0
  process.kill(found.pid, 'SIGTERM')
  for (const end = Date.now() + 60_000; Date.now() < end; await sleep(20)) if (keeper() === undefined) return 0
  process.stderr.write(`process ${found.pid} does not end\n`)
  return 1
}

const commands: Record<string, () => Promise<number>> = { up, down, status }
const command = commands[positionals[0] ?? '']
if (values.help || command === undefined || positionals.length !== 1) {
  ;(values.help ? process.stdout : process.stderr).write(help)
  process.exit(values.help ? 0 : 2)
}
try {
  process.exit(await command())
} catch (error) {
  process.stderr.write(`services: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}
