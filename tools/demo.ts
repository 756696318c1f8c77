// Walks through a pull and a run with an unmodified ctr, showing each command and what it printed.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { DemoWorld } from './demo-world.ts'

const { values, positionals } = parseArgs({ allowPositionals: true, options: { keep: { type: 'boolean' } } })
const started = performance.now()
const terminal = process.stdout.isTTY
const shown = (text: string) => process.stdout.write(terminal ? `\u001b[1m${text}\u001b[0m\n` : `${text}\n`)
const said = (text: string) => process.stdout.write(`${text}\n`)

class DemoFailure extends Error {}

/** Starts the process that has the world in which everything happens. Unless it is to be kept, it goes with this one. */
function spawnKeeper() {
  const command = [process.execPath, fileURLToPath(new URL('demo-world.ts', import.meta.url))]
  const [program = '', ...args] = values.keep ? command : ['setpriv', '--pdeathsig', 'TERM', ...command]
  // In a process group of its own, so that Ctrl-C does not end its servers before it has removed the containers.
  return spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', 'inherit'] })
}

/** Waits until the keeper says that everything serves, and where. */
async function worldOf(keeper: ReturnType<typeof spawnKeeper>, stopped: AbortSignal): Promise<DemoWorld> {
  const ended = once(keeper, 'exit').then(() => undefined)
  const first = await Promise.race([
    once(createInterface({ input: keeper.stdout }), 'line', { signal: stopped }),
    ended,
  ])
  if (first === undefined) throw new DemoFailure('flotilla did not start; what it said is above')
  return JSON.parse(first[0] as string) as DemoWorld
}

async function stopWorld(keeper: ChildProcess): Promise<void> {
  if (keeper.exitCode !== null || keeper.signalCode !== null) return
  const ended = once(keeper, 'exit')
  keeper.kill('SIGTERM')
  await ended
}

async function walk(world: DemoWorld, stopped: AbortSignal): Promise<void> {
  const reference = positionals[0] ?? world.reference
  const env = { ...process.env, CONTAINERD_ADDRESS: world.socket }
  const plain = positionals[0] === undefined ? ['--plain-http'] : []

  async function outputOf(args: readonly string[], stderr: 'inherit' | 'ignore' = 'ignore'): Promise<string> {
    const child = spawn('ctr', args, { env, stdio: ['ignore', 'pipe', stderr], signal: stopped })
    const closed = once(child, 'close')
    let text = ''
    for await (const piece of child.stdout.setEncoding('utf8')) {
      text += piece
      if (stderr === 'inherit') process.stdout.write(piece)
    }
    const [status] = await closed
    if (status !== 0) throw new DemoFailure(`ctr ended with ${status}; flotilla's log is ${world.log}`)
    return text
  }

  async function ctr(...args: string[]): Promise<void> {
    const words = args.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    shown(`\n$ ctr ${words.join(' ')}`)
    await outputOf(args, 'inherit')
  }

  shown(`\n$ export CONTAINERD_ADDRESS=${world.socket}`)
  await ctr('version')
  shown('\n$ ctr events &')
  // Debian 12's ctr complains of each event that was added after it; the others it prints.
  const events = spawn('ctr', ['events'], { env, stdio: ['ignore', 'pipe', 'ignore'] })
  let heard = ''
  events.stdout.setEncoding('utf8').on('data', (text: string) => {
    heard += text
  })
  try {
    await ctr('images', 'pull', ...plain, reference)
    await ctr('images', 'ls')
    await ctr('run', '--rm', reference, 'hello', 'sh', '-c', 'echo "Hello from $(uname -s), process $$"')
    await ctr('run', '-d', reference, 'sleeper', 'sleep', '1000')
    await ctr('containers', 'ls')
    await ctr('tasks', 'ls')
    await ctr('tasks', 'exec', '--exec-id', 'look', 'sleeper', 'ps')
    await ctr('tasks', 'metrics', 'sleeper')
    await ctr('tasks', 'kill', '-s', 'SIGKILL', 'sleeper')
    while (/^sleeper .*RUNNING/m.test(await outputOf(['tasks', 'ls']))) await sleep(50)
    await ctr('tasks', 'rm', '--force', 'sleeper')
    await ctr('containers', 'rm', 'sleeper')
    if (!values.keep) await ctr('images', 'rm', '--sync', reference)
    const last = values.keep ? '/containers/delete' : '/images/delete'
    for (const end = Date.now() + 5_000; !heard.includes(last) && Date.now() < end; ) await sleep(50)
    shown('\nWhat ctr events heard meanwhile:')
    process.stdout.write(heard)
  } finally {
    events.kill('SIGKILL')
  }
}

function showWayOn(world: DemoWorld, keeper: ChildProcess): void {
  if (values.keep) {
    said(`
It goes on running. Try, as root:
  export CONTAINERD_ADDRESS=${world.socket}
  ctr images ls
  ctr run --rm -t ${positionals[0] ?? world.reference} shell sh
Its log is ${world.log}.
Stop it, and take everything of it away: kill ${keeper.pid}`)
  } else
    said(`
Go on by hand: tools/demo --keep leaves it running, or start your own:
  tools/standalone --root /var/lib/flotilla --state /run/flotilla --address /run/flotilla/containerd.sock
  ctr --address /run/flotilla/containerd.sock images pull docker.io/library/alpine:3`)
}

said('Starting flotilla, a registry, and putting a small busybox image into it …')
const keeper = spawnKeeper()
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => interrupted.abort())
try {
  const world = await worldOf(keeper, interrupted.signal)
  said(`Ready after ${((performance.now() - started) / 1000).toFixed(1)} s, in ${world.directory}`)
  await walk(world, interrupted.signal)
  showWayOn(world, keeper)
  if (!values.keep) await stopWorld(keeper)
  said(`\nThat took ${((performance.now() - started) / 1000).toFixed(1)} s.`)
  process.exit(0)
} catch (error) {
  if (interrupted.signal.aborted) said('\nstopping')
  await stopWorld(keeper)
  if (interrupted.signal.aborted) process.exit(130)
  if (!(error instanceof DemoFailure)) throw error
  process.stderr.write(`demo: ${error.message}\n`)
  process.exit(1)
}
