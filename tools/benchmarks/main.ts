import { existsSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { tempWorld } from '@flotilla/testing'
import { repository } from '../e2e/harness/versions.ts'
import type { Bench, Case, Readings } from './case.ts'
import { cases } from './cases/index.ts'
import { benchImages } from './images.ts'
import { machineFacts } from './machine.ts'
import { type Pair, type Result, resultsOf, tableOf } from './results.ts'
import { type SideName, startSide } from './sides.ts'

const help = `usage: tools/bench [--peer DIR] [--only NAME,…] [--pairs N] [--json FILE] [--quick] [--list]

Measures flotilla's standalone process beside a real containerd: ours, theirs, ours, theirs, each time freshly started
on an empty root, driven by the same client. Prints a Markdown table: medians, the ratio ours ÷ theirs pair by pair, and
whether the target is met; less is better everywhere.

  --peer DIR   directory of containerd, ctr and containerd-shim-runc-v2 (the newest that tools/install unpacked)
  --only NAME  cases to run: names, or beginnings of names, of --list
  --pairs N    pairs for each case after a warm-up; 5
  --json FILE  results as JSON, written after each case
  --quick      one pair of everything at a small size, no warm-up: shows that the tool works, not how fast we are
  --list       names of the cases
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
    help: { type: 'boolean', short: 'h', default: false },
  },
})

if (values.help) process.stdout.write(help)
else if (values.list) for (const { name } of cases) process.stdout.write(`${name}\n`)
else await run()

async function run(): Promise<void> {
  const peer = resolve(values.peer ?? join(repository, '.work/containerd/newest/usr/bin'))
  if (!existsSync(join(peer, 'containerd')))
    throw new Error(`no containerd in ${peer}: run tools/install, or give --peer`)
  const pairs = values.quick ? 1 : Number(values.pairs)
  if (!(pairs >= 1)) throw new Error(`--pairs ${values.pairs} is not a number of pairs`)
  const chosen = cases.filter(({ name }) => values.only?.split(',').some((start) => name.startsWith(start)) ?? true)
  if (chosen.length === 0) throw new Error(`no case is named ${values.only}; see --list`)

  const machine = machineFacts(peer)
  for (const [name, fact] of Object.entries(machine)) say(`${name}: ${fact}`)
  const home = join(repository, '.work/bench')
  await mkdir(home, { recursive: true })
  const quick = values.quick
  await using images = benchImages(home, quick ? 100 : 1)
  const bench: Bench = { images, quick, scale: (full, small) => (quick ? small : full) }
  const results: Result[] = []
  for (const one of chosen) {
    const found = resultsOf(one, await measurePairs(one, bench, peer, pairs))
    process.stdout.write(`\n${one.name}\n${tableOf(found)}\n`)
    results.push(...found)
    if (values.json !== undefined)
      await replace(values.json, `${JSON.stringify({ machine, cases: results }, null, 1)}\n`)
  }
  process.stdout.write(`\nall\n${tableOf(results)}\n`)
}

async function measurePairs(measured: Case, bench: Bench, peer: string, count: number): Promise<Pair[]> {
  await measured.prepare?.(bench)
  const pairs: Pair[] = []
  const warmUps = bench.quick ? 0 : 1
  for (let round = -warmUps; round < count; round++) {
    const ours = await measureOne(measured, 'ours', bench, peer)
    const theirs = await measureOne(measured, 'theirs', bench, peer)
    const what = round < 0 ? 'warm-up' : `pair ${round + 1} of ${count}`
    say(`${measured.name}, ${what}: ours ${inShort(ours)}; theirs ${inShort(theirs)}`)
    if (round >= 0) pairs.push({ ours, theirs })
  }
  return pairs
}

async function measureOne(measured: Case, name: SideName, bench: Bench, peer: string): Promise<Readings> {
  await using world = await tempWorld({ tmpfs: measured.storage === 'tmpfs', name: `bench-${name}` })
  await using side = await startSide(name, world, peer)
  return await measured.measure(side, bench)
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
