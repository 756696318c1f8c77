import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { errnoOf } from '@flotilla/linux'
import { tempWorld } from '@flotilla/testing'
import { repository } from '../e2e/harness/versions.ts'
import type { Bench, Case, Readings } from './case.ts'
import { cases } from './cases/index.ts'
import { floors } from './floor/floors.ts'
import { benchImages } from './images.ts'
import { machineFacts } from './machine.ts'
import { type Pair, type Result, resultsOf, tableOf } from './results.ts'
import { type SideName, startSide } from './sides.ts'

const help = `usage: tools/bench [--peer DIR] [--only NAME,…] [--pairs N] [--json FILE] [--quick] [--list | --floors]

Measures flotilla's standalone process beside a real containerd: ours, theirs, ours, theirs, each time freshly started
on an empty root, driven by the same client. Prints a Markdown table: medians, the ratio ours ÷ theirs pair by pair, and
whether the target is met; less is better everywhere.

  --peer DIR   directory of containerd, ctr and containerd-shim-runc-v2 (the newest that tools/install unpacked)
  --only NAME  cases to run: names, or beginnings of names, of --list
  --pairs N    pairs for each case after a warm-up of small size; 5
  --json FILE  results as JSON, written after each case
  --quick      one pair of everything at a small size, no warm-up: shows that the tool works, not how fast we are
  --list       names of the cases
  --floors     instead of all that: the least that parts of cases can take, by programs that do nothing else (calls at a
               server in Node that only answers, or stores in Redis what it is sent; decompression, digests and files
               of a layer by C; ctr and runc without a daemon)
  --help       this text

Needs root, what tools/install installs, and for all cases about 12 GB of /dev/shm.
`

const { values } = parseArgs({
  options: {
    peer: { type: 'string' },
    only: { type: 'string' },
    pairs: { type: 'string', default: '5' },
    json: { type: 'string' },
    quick: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    floors: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

/** What is to be undone when the program is told to end. */
let current: AsyncDisposableStack | undefined
let ending = false

if (values.help) process.stdout.write(help)
else if (values.list) for (const { name } of cases) process.stdout.write(`${name}\n`)
else
  await (values.floors ? measureFloors() : run()).catch((error: unknown) => {
    // What is cut off fails; the process ends when all is cleaned up.
    if (!ending) throw error
  })

function positive(pairs: string): number {
  const count = Number(pairs)
  if (!(count >= 1)) throw new Error(`--pairs ${pairs} is not a number of pairs`)
  return count
}

/** The directory of the containerd to measure beside. */
function peerDirectory(): string {
  const peer = resolve(values.peer ?? join(repository, '.work/containerd/newest/usr/bin'))
  if (!existsSync(join(peer, 'containerd')))
    throw new Error(`no containerd in ${peer}: run tools/install, or give --peer`)
  return peer
}

/** Where generated images are kept. */
async function imageHome(): Promise<string> {
  const home = join(repository, '.work/bench')
  await mkdir(home, { recursive: true })
  return home
}

async function measureFloors(): Promise<void> {
  await using images = benchImages(await imageHome(), values.quick ? 100 : 1)
  const effort = values.quick ? { repeats: 1, share: 0.02 } : { repeats: positive(values.pairs), share: 1 }
  // Each part cleans up after itself, and takes seconds.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      ending = true
      process.exitCode = 130
      say(`${signal}: ending with this part`)
    })
  for await (const { name, unit, clock, processor } of floors(peerDirectory(), images, effort)) {
    const [elapsed, used] = [clock, processor].map((value) => `${value.toFixed(unit === 'ms' ? 1 : 0)} ${unit}`)
    process.stdout.write(`${name}: ${elapsed}, ${used} of processor time\n`)
    if (ending) return
  }
}

async function run(): Promise<void> {
  const peer = peerDirectory()
  const pairs = values.quick ? 1 : positive(values.pairs)
  const chosen = cases.filter(({ name }) => values.only?.split(',').some((start) => name.startsWith(start)) ?? true)
  if (chosen.length === 0) throw new Error(`no case is named ${values.only}; see --list`)

  const machine = machineFacts(peer)
  for (const [name, fact] of Object.entries(machine)) say(`${name}: ${fact}`)
  const quick = values.quick
  await using images = benchImages(await imageHome(), quick ? 100 : 1)
  endWhenTold(images)
  const results: Result[] = []
  for (const one of chosen) {
    const found = resultsOf(one, await measurePairs(one, images, peer, pairs, quick))
    process.stdout.write(`\n${one.name}\n${tableOf(found)}\n`)
    results.push(...found)
    if (values.json !== undefined)
      await replace(values.json, `${JSON.stringify({ machine, cases: results }, null, 1)}\n`)
  }
  process.stdout.write(`\nall\n${tableOf(results)}\n`)
}

/** A warm-up is of the small size: it is the page cache and the compiled code that it is for. */
async function measurePairs(
  measured: Case,
  images: Bench['images'],
  peer: string,
  count: number,
  quick: boolean,
): Promise<Pair[]> {
  const began = performance.now()
  const [small, full] = [true, quick].map(
    (quick): Bench => ({ images, quick, scale: (full, small) => (quick ? small : full) }),
  ) as [Bench, Bench]
  await measured.prepare?.(full)
  const pairs: Pair[] = []
  for (let round = quick ? 0 : -1; round < count; round++) {
    const bench = round < 0 ? small : full
    const ours = await measureOne(measured, 'ours', bench, peer)
    const theirs = await measureOne(measured, 'theirs', bench, peer)
    const what = round < 0 ? 'warm-up' : `pair ${round + 1} of ${count}`
    say(`${measured.name}, ${what}: ours ${inShort(ours)}; theirs ${inShort(theirs)}`)
    if (round >= 0) pairs.push({ ours, theirs })
  }
  say(`${measured.name} took ${((performance.now() - began) / 1000).toFixed(0)} s`)
  return pairs
}

async function measureOne(measured: Case, name: SideName, bench: Bench, peer: string): Promise<Readings> {
  await using stack = new AsyncDisposableStack()
  current = stack
  const world = stack.use(await tempWorld({ tmpfs: measured.storage === 'tmpfs', name: `bench-${name}` }))
  // A command that a signal did not end may start one after all tasks were removed.
  stack.defer(() => endShims(world.path))
  const side = stack.use(await startSide(name, world, peer))
  // Only a run that is cut off leaves any.
  stack.defer(() => side.removeTasks())
  return await measured.measure(side, bench)
}

/** Ends shims of a daemon below a path, and what they run. */
function endShims(path: string): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      if (!command.includes('containerd-shim') || !command.includes(path)) continue
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
      for (const one of [...children, pid]) process.kill(Number(one), 'SIGKILL')
    } catch (error) {
      // It has ended meanwhile.
      if (!['ENOENT', 'ESRCH'].includes(errnoOf(error) ?? '')) throw error
    }
  }
}

/** Leaves nothing behind when it is interrupted: no containers, daemons, mounts and directories. */
function endWhenTold(images: AsyncDisposable): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, async () => {
      ending = true
      say(`${signal}: cleaning up`)
      try {
        await current?.disposeAsync()
        await images[Symbol.asyncDispose]()
      } finally {
        process.exit(130)
      }
    })
}

function inShort(readings: Readings): string {
  return Object.values(readings)
    .map(({ value }) => value.toPrecision(4))
    .join(' ')
}

async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text)
  await rename(`${file}.new`, file)
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`)
}
