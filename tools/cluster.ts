// Several nodes on one machine, for trying the cluster and for tests: each has a network namespace, root, state and
// socket of its own; Redis and NATS, which they share, run beside them and want a password.
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startEmbeddedNats, startEmbeddedRedis } from '@flotilla/embedded'
import { addClient, addNode, initDirectory } from '@flotilla/pki'
import { cut, inUse, makeNetwork, mend, removeNetwork } from './cluster-parts/network.ts'
import { type Plan, type PlannedNode, planFor, ports, readPlan, writePlan } from './cluster-parts/plan.ts'
import { endContainers } from './cluster-parts/remains.ts'
import { serving } from './serving.ts'

const help = `cluster: several nodes on this machine, as one containerd

  tools/cluster up --nodes N --dir DIR      start nodes a, b, c, … and print where they are, as JSON
  tools/cluster partition NAME --dir DIR    pull the node's network cable
  tools/cluster heal NAME --dir DIR         plug it in again
  tools/cluster kill NAME --dir DIR         kill -9 its process; its containers stay
  tools/cluster start NAME --dir DIR        start it again
  tools/cluster down --dir DIR              end everything, and remove what is in DIR

Each node serves the whole API at its endpoint with mutual TLS: DIR/pki has the authority (ca.crt) and the certificate
of a client that may do everything (admin.crt, admin.key).

Options of up:
  -l, --log-level LEVEL   of every node (info); logs are DIR/NAME/log
`

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    nodes: { type: 'string', default: '3' },
    dir: { type: 'string' },
    'log-level': { type: 'string', short: 'l', default: 'info' },
    help: { type: 'boolean', short: 'h' },
  },
})
const here = fileURLToPath(new URL('.', import.meta.url))
const [command = '', name] = positionals
const dir = resolve(values.dir ?? '')
const pki = join(dir, 'pki')

/** What is wrong with the command line or the cluster: a line for the user, no stack. */
class Refusal extends Error {}

const placesOf = (node: PlannedNode) => ({
  root: join(dir, node.name, 'root'),
  state: join(dir, node.name, 'state'),
  socket: join(dir, node.name, 'containerd.sock'),
  log: join(dir, node.name, 'log'),
  advertise: `${node.ip}:${ports.peers}`,
  endpoint: `${node.ip}:${ports.endpoint}`,
  identity: { ca: join(pki, 'ca.crt'), cert: join(pki, `${node.name}.crt`), key: join(pki, `${node.name}.key`) },
})

function required(): Plan {
  const plan = readPlan(dir)
  if (plan === undefined) throw new Refusal(`there is no cluster in ${dir}`)
  return plan
}

function nodeNamed(plan: Plan): PlannedNode {
  const node = plan.nodes.find((one) => one.name === name)
  if (node === undefined)
    throw new Refusal(`no node "${name ?? ''}" in ${dir}; there are ${plan.nodes.map((one) => one.name).join(', ')}`)
  return node
}

/** Whether a process runs and is the one we mean. */
function runs(pid: number, word: string): boolean {
  try {
    return pid > 0 && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(word)
  } catch {
    return false
  }
}

async function end(pid: number, word: string, signal: NodeJS.Signals): Promise<void> {
  if (runs(pid, word)) process.kill(pid, signal)
  for (const limit = Date.now() + 20_000; runs(pid, word); await sleep(20))
    if (Date.now() > limit) {
      process.kill(pid, 'SIGKILL')
      break
    }
}

/** Runs Redis and NATS until it is told to stop. */
async function keep(): Promise<void> {
  const { gateway: host, password } = required()
  const stopped = new Promise<void>((done) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => done())
  })
  await using _redis = await startEmbeddedRedis({
    data: join(dir, 'redis/data'),
    run: join(dir, 'redis'),
    network: { host, password, port: ports.redis },
  })
  await using _nats = await startEmbeddedNats({
    data: join(dir, 'nats/data'),
    run: join(dir, 'nats'),
    network: { host, password, port: ports.nats },
  })
  process.send?.('ready')
  process.disconnect?.()
  await stopped
}

async function startKeeper(plan: Plan): Promise<void> {
  const out = openSync(join(dir, 'keeper.log'), 'a', 0o600)
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), 'keep', '--dir', dir], {
    detached: true,
    stdio: ['ignore', out, out, 'ipc'],
  })
  closeSync(out)
  await new Promise<void>((done, fail) => {
    child.once('message', () => done())
    child.once('exit', () => fail(new Refusal(`Redis and NATS did not start; see ${join(dir, 'keeper.log')}`)))
  })
  child.unref()
  plan.keeper = child.pid ?? 0
}

async function startNode(plan: Plan, node: PlannedNode): Promise<void> {
  const { advertise, endpoint, identity, log, root, socket, state } = placesOf(node)
  mkdirSync(join(dir, node.name), { recursive: true, mode: 0o711 })
  const out = openSync(log, 'a', 0o600)
  const program = [process.execPath, join(here, 'start.mjs'), 'standalone']
  const flags = {
    root,
    state,
    address: socket,
    'node-name': node.name,
    advertise,
    endpoint,
    ...identity,
    redis: `redis://:${plan.password}@${plan.gateway}:${ports.redis}`,
    nats: `nats://flotilla:${plan.password}@${plan.gateway}:${ports.nats}`,
    'log-level': values['log-level'],
  }
  const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value])
  // nsenter becomes the program, so its process id is the node's.
  const child = spawn('nsenter', [`--net=/run/netns/${node.netns}`, ...program, ...args], {
    detached: true,
    stdio: ['ignore', out, out],
  })
  closeSync(out)
  child.unref()
  node.pid = child.pid ?? 0
  for (const limit = Date.now() + 60_000; !(await serving(`unix://${socket}`, 2_000)); await sleep(50)) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > limit) {
      const words = readFileSync(log, 'utf8').trim().split('\n').slice(-3).join('\n')
      throw new Refusal(`node "${node.name}" does not serve; the end of ${log}:\n${words}`)
    }
  }
}

/** An authority, a certificate for each node, and `admin` for clients that may do everything. */
async function makeCertificates(plan: Plan): Promise<void> {
  const days = 365
  await initDirectory(pki, { name: 'flotilla cluster', days })
  for (const node of plan.nodes) await addNode(pki, { name: node.name, addresses: [node.ip], days })
  await addClient(pki, { name: 'admin', grants: [{ namespace: '*', verbs: ['read', 'write', 'exec', 'admin'] }], days })
}

async function up(): Promise<void> {
  const count = Number(values.nodes)
  if (!(Number.isInteger(count) && count >= 1 && count <= 250)) throw new Refusal('--nodes must be 1 to 250')
  if (readPlan(dir) !== undefined) throw new Refusal(`there is a cluster in ${dir} already`)
  mkdirSync(dir, { recursive: true, mode: 0o711 })
  const plan = planFor(dir, count, inUse)
  writePlan(dir, plan)
  try {
    makeNetwork(plan)
    await makeCertificates(plan)
    await startKeeper(plan)
    writePlan(dir, plan)
    // Not all at once: the first compiles the sources for the others.
    const [first, ...others] = plan.nodes
    if (first) await startNode(plan, first)
    await Promise.all(others.map((node) => startNode(plan, node)))
  } catch (error) {
    writePlan(dir, plan)
    await down()
    throw error
  }
  writePlan(dir, plan)
  const nodes = plan.nodes.map((node) => {
    const { endpoint, socket } = placesOf(node)
    return { name: node.name, socket, endpoint, pid: node.pid }
  })
  process.stdout.write(`${JSON.stringify({ gateway: plan.gateway, nodes })}\n`)
}

async function down(): Promise<void> {
  const plan = readPlan(dir)
  if (plan === undefined) return
  for (const node of plan.nodes) mendIfThere(node)
  await Promise.all(plan.nodes.map((node) => end(node.pid, placesOf(node).socket, 'SIGTERM')))
  for (const node of plan.nodes) {
    const { socket, state } = placesOf(node)
    await endContainers(join(dir, node.name), socket, state)
  }
  await end(plan.keeper, dir, 'SIGTERM')
  removeNetwork(plan)
  const made = [...plan.nodes.map((node) => node.name), 'redis', 'nats', 'pki', 'keeper.log', 'cluster.json']
  for (const entry of made) rmSync(join(dir, entry), { recursive: true, force: true })
  try {
    rmdirSync(dir)
  } catch {
    // There is something in it that is not ours.
  }
}

function mendIfThere(node: PlannedNode): void {
  try {
    mend(node)
  } catch {
    // A cable that was never laid.
  }
}

async function kill(): Promise<void> {
  const node = nodeNamed(required())
  await end(node.pid, placesOf(node).socket, 'SIGKILL')
}

async function start(): Promise<void> {
  const plan = required()
  const node = nodeNamed(plan)
  if (runs(node.pid, placesOf(node).socket)) throw new Refusal(`node "${node.name}" runs already`)
  try {
    await startNode(plan, node)
  } finally {
    writePlan(dir, plan)
  }
}

const commands: Record<string, () => Promise<void> | void> = {
  up,
  down,
  kill,
  start,
  keep,
  partition: () => cut(nodeNamed(required())),
  heal: () => mend(nodeNamed(required())),
}
const run = commands[command]
if (values.help || run === undefined || values.dir === undefined) {
  ;(values.help ? process.stdout : process.stderr).write(help)
  process.exit(values.help ? 0 : 2)
}
try {
  await run()
  process.exit(0)
} catch (error) {
  const text = error instanceof Refusal ? error.message : error instanceof Error ? error.stack : String(error)
  process.stderr.write(`cluster: ${text}\n`)
  process.exit(1)
}
