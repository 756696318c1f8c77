// Walks through a pull and a run with an unmodified ctr, showing each command and what it printed.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
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
async function worldOf(keeper: ReturnType<typeof spawnKeeper>): Promise<DemoWorld> {
  const ended = once(keeper, 'exit').then(() => undefined)
  const first = await Promise.race([once(createInterface({ input: keeper.stdout }), 'line'), ended])
  if (first === undefined) throw new DemoFailure('flotilla did not start; what it said is above')
  return JSON.parse(first[0] as string) as DemoWorld
}

async function stopWorld(keeper: ChildProcess): Promise<void> {
  if (keeper.exitCode !== null || keeper.signalCode !== null) return
  const ended = once(keeper, 'exit')
  keeper.kill('SIGTERM')
  await ended
}

function walk(world: DemoWorld): Promise<void> {
  const reference = positionals[0] ?? world.reference
  const env = { ...process.env, CONTAINERD_ADDRESS: world.socket }
  // From 2.0 on ctr pulls through the daemon's transfer service unless told otherwise.
  const local = / v?2\.|\/v2 /.test(spawnSync('ctr', ['--version'], { encoding: 'utf8' }).stdout) ? ['--local'] : []
  const plain = positionals[0] === undefined ? ['--plain-http'] : []

  function ctr(...args: string[]): string {
    const words = args.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    shown(`\n$ ctr ${words.join(' ')}`)
    const { status, stdout } = spawnSync('ctr', args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
    process.stdout.write(stdout)
    if (status !== 0) throw new DemoFailure(`that ended with ${status}; flotilla's log is ${world.log}`)
    return stdout
  }

  async function untilStopped(id: string): Promise<void> {
    const list = () => spawnSync('ctr', ['tasks', 'ls'], { env, encoding: 'utf8' }).stdout
    while (new RegExp(`^${id} .*RUNNING`, 'm').test(list())) await sleep(50)
  }

  return (async () => {
    shown(`\n$ export CONTAINERD_ADDRESS=${world.socket}`)
    ctr('version')
    shown('\n$ ctr events &')
    // Debian 12's ctr complains of each event that was added after it; the others it prints.
    const events = spawn('ctr', ['events'], { env, stdio: ['ignore', 'pipe', 'ignore'] })
    let heard = ''
    events.stdout.setEncoding('utf8').on('data', (text: string) => {
      heard += text
    })
    try {
      ctr('images', 'pull', ...local, ...plain, reference)
      ctr('images', 'ls')
      ctr('run', '--rm', reference, 'hello', 'sh', '-c', 'echo "Hello from $(uname -s), process $$"')
      ctr('run', '-d', reference, 'sleeper', 'sleep', '1000')
      ctr('containers', 'ls')
      ctr('tasks', 'ls')
      ctr('tasks', 'exec', '--exec-id', 'look', 'sleeper', 'ps')
      ctr('tasks', 'metrics', 'sleeper')
      ctr('tasks', 'kill', '-s', 'SIGKILL', 'sleeper')
      await untilStopped('sleeper')
      ctr('tasks', 'rm', '--force', 'sleeper')
      ctr('containers', 'rm', 'sleeper')
      if (!values.keep) ctr('images', 'rm', '--sync', reference)
      const last = values.keep ? '/containers/delete' : '/images/delete'
      for (const end = Date.now() + 5_000; !heard.includes(last) && Date.now() < end; ) await sleep(50)
      shown('\nWhat ctr events heard meanwhile:')
      process.stdout.write(heard)
    } finally {
      events.kill('SIGKILL')
    }
  })()
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
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, async () => {
    said('\nstopping')
    await stopWorld(keeper)
    process.exit(130)
  })
try {
  const world = await worldOf(keeper)
  said(`Ready after ${((performance.now() - started) / 1000).toFixed(1)} s, in ${world.directory}`)
  await walk(world)
  showWayOn(world, keeper)
  if (!values.keep) await stopWorld(keeper)
  said(`\nThat took ${((performance.now() - started) / 1000).toFixed(1)} s.`)
  process.exit(0)
} catch (error) {
  await stopWorld(keeper)
  if (!(error instanceof DemoFailure)) throw error
  process.stderr.write(`demo: ${error.message}\n`)
  process.exit(1)
}
