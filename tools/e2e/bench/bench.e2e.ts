import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { tempWorld } from '@flotilla/testing'
import { expect, it } from 'vitest'
import type { Result } from '../../benchmarks/results.ts'
import { underTest } from '../harness/system.ts'
import { repository } from '../harness/versions.ts'

const there = existsSync(join(repository, '.work/containerd/newest/usr/bin/containerd'))

// Milliseconds; four daemons start and stop.
const limit = 240_000

// It starts its own daemons, so once is enough.
it.skipIf(!there || underTest !== 'standalone')(
  'tools/bench measures ours and theirs',
  async () => {
    await using world = await tempWorld({ name: 'bench-test' })
    const json = world.join('results.json')
    const printed = execFileSync(
      join(repository, 'tools/bench'),
      ['--quick', '--only', 'run,metadata', '--json', json],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
        timeout: limit,
      },
    )
    const { machine, cases } = JSON.parse(readFileSync(json, 'utf8')) as { machine: object; cases: Result[] }
    expect(machine).toMatchObject({ node: process.version })
    expect(cases.map(({ name }) => name)).toContain('container create, 16 callers')
    for (const { name, ours, theirs, ratio } of cases) {
      expect(ours, name).toBeGreaterThan(0)
      expect(ratio, name).toBeCloseTo(ours / (theirs ?? Number.NaN))
      expect(printed).toContain(`| ${name} `)
    }
  },
  limit,
)

it.skipIf(!there || underTest !== 'standalone')(
  'tools/bench --floors measures the parts of cases alone',
  () => {
    const printed = execFileSync(join(repository, 'tools/bench'), ['--floors', '--quick'], {
      encoding: 'utf8',
      timeout: limit,
    })
    const figure = (unit: string) => `[1-9][\\d.]* ${unit}, \\d[\\d.]* ${unit} of processor time`
    const calls = ['container get', 'container create', 'lease create', 'event publish']
    const expected = [
      ...['ctr --version', 'runc run of true', 'runc exec of true'].map((name) => `${name}: ${figure('ms')}`),
      ...calls.flatMap((call) => ['one caller', '16 callers'].map((by) => `${call}, ${by}: ${figure('µs')}`)),
      `records of 2000 objects read, 200 removed: ${figure('ms')}`,
      ...['gzip decompressed', 'zstd decompressed', 'SHA-256 of the blob', 'SHA-256 of the tar']
        .concat(hasCompiler() ? ['files made and written'] : [])
        .map((part) => `one layer of 768 MB: ${part}: ${figure('ms')}`),
    ]
    const lines = printed.trimEnd().split('\n')
    expect(lines).toHaveLength(expected.length)
    for (const [at, line] of lines.entries()) expect(line).toMatch(new RegExp(`^${expected[at]}$`))
  },
  limit,
)

/** Without one the floor of writing files is left out. */
function hasCompiler(): boolean {
  const { error } = spawnSync('cc', ['--version'], { stdio: 'ignore' })
  return error === undefined
}
