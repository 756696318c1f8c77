import { execFileSync } from 'node:child_process'
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
    const lines = printed.trimEnd().split('\n')
    for (const one of lines) expect(one).toMatch(/^.+: [\d.]+ (µs|ms), \d[\d.]* \1 of processor time$/)
    for (const start of [
      'container get, one caller',
      'event publish, 16 callers',
      'records of',
      'one layer',
      'runc exec',
    ])
      expect(lines.find((line) => line.startsWith(start))).toMatch(/: (?!0 µs|0\.0 ms)/)
  },
  limit,
)
