// Runs the checks and the test suites one after another and adds up what came of them.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const help = `usage: tools/test [--only lint,unit,e2e,cluster,reference] [--system standalone,services]
                  [--suites bench/,ctr/,docker/,input/,kill/,wire/,client/,cli/,endpoint/] [FILTER]

Installs what is missing, then runs, in this order:
  lint       formatting and lint rules, package boundaries, types, the wire check, the compose file
  unit       the tests beside the code of every package
  e2e        the end-to-end suites against the standalone process, then against separate services, the latter with
             the newest ctr only (FLOTILLA_ALL_CLIENTS=1 for every version there is)
  cluster    three nodes in network namespaces of their own, as one containerd
  reference  the ctr cases against Debian's containerd itself, which shows that they ask for what it does
--suites chooses folders of tools/e2e, or files in them. FILTER limits unit and e2e to files whose path contains it. Results are kept in .work/results, logs of failed
end-to-end tests in .work/logs. The last line is "N passed, N failed"; the exit status says whether any failed.
`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string', default: 'lint,unit,e2e,cluster,reference' },
    system: { type: 'string', default: 'standalone,services' },
    suites: { type: 'string', default: 'bench/,ctr/,docker/,input/,kill/,wire/,client/,cli/,endpoint/' },
    help: { type: 'boolean', short: 'h' },
  },
})
if (values.help) {
  process.stdout.write(help)
  process.exit(0)
}

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const results = join(root, '.work/results')
const total = { passed: 0, failed: 0 }
const failures = []
const skipped = []

// Synchronous, so that nothing of ours can come after the last line.
const say = (line) => writeSync(1, `${line}\n`)

/** Milliseconds after which a check or a suite counts as failed: a few times what the longest needs. */
const patience = 45 * 60_000

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 1, 1], timeout: patience })
  if (error !== undefined) say(`${command} ${args[0] ?? ''}: ${error.message}`)
  return status === 0
}

/** One check is one result. */
function check(name, command, ...args) {
  say(`\n== ${name}`)
  const start = performance.now()
  const passed = run(command, args)
  total[passed ? 'passed' : 'failed'] += 1
  if (!passed) failures.push(name)
  say(`== ${name}: ${passed ? 'passed' : 'FAILED'}, ${((performance.now() - start) / 1000).toFixed(1)} s`)
}

/** Why a test failed, below its name: the reporter's own account is far above and may have been cut. */
function reason(message) {
  const lines = message.split('\n').filter((line) => line.trim() !== '' && !line.includes('node_modules/'))
  return lines
    .slice(0, 12)
    .map((line) => `\n      ${line.slice(0, 300)}`)
    .join('')
}

/** The names of the outermost groups say what tests are skipped for. */
const groupOf = ({ ancestorTitles, title }) => ancestorTitles.slice(0, 2).join(' ') || title

/** Each test of a suite is a result; a file that could not be loaded, or a runner that crashed, is a failed one. */
function suite(name, ...args) {
  say(`\n== ${name}`)
  const output = join(results, `${name.replaceAll(' ', '-')}.json`)
  rmSync(output, { force: true })
  const passed = run('vitest', ['run', '--reporter=dot', '--reporter=json', `--outputFile.json=${output}`, ...args])
  if (!existsSync(output)) {
    total.failed += 1
    failures.push(`${name}: the runner gave no results`)
    return
  }
  const report = JSON.parse(readFileSync(output, 'utf8'))
  let failed = 0
  for (const file of report.testResults) {
    const path = file.name.replace(`${root}/`, '')
    const tests = file.assertionResults
    for (const test of tests) {
      if (test.status === 'passed') total.passed += 1
      else if (test.status === 'failed') {
        failed += 1
        failures.push(`${name}: ${path}: ${test.fullName}${reason(test.failureMessages.join('\n'))}`)
      }
    }
    const left = tests.filter(({ status }) => status !== 'passed' && status !== 'failed')
    for (const [group, { length }] of Object.entries(Object.groupBy(left, groupOf)))
      skipped.push(`${name}: ${path}: ${group}${length === 1 ? '' : ` (${length} tests)`}`)
    if (file.status === 'failed' && tests.every((test) => test.status !== 'failed')) {
      failed += 1
      failures.push(`${name}: ${path}${reason(file.message)}`)
    }
  }
  // Such as an error that nothing caught: every test passed, and yet something is wrong.
  if (!passed && failed === 0) {
    failed = 1
    failures.push(`${name}: the runner failed outside of any test`)
  }
  total.failed += failed
  say(`== ${name}: ${failed === 0 ? 'passed' : `${failed} FAILED`}`)
}

function checkWire() {
  const facts = join(root, '../shared/wire')
  if (!existsSync(join(facts, 'check.mjs'))) {
    skipped.push('wire check: the facts are not beside this clone')
    return
  }
  const image = join(results, 'proto.json')
  const protos = readdirSync(join(root, 'proto'), { recursive: true }).filter((file) => file.endsWith('.proto'))
  const packages = protos.flatMap(
    (file) => /^package (\S+);/m.exec(readFileSync(join(root, 'proto', file), 'utf8'))?.[1] ?? [],
  )
  if (!run('buf', ['build', 'proto', '-o', image])) say('buf failed')
  const files = ['containerd-api.json', 'ttrpc.json', 'cgroup-metrics.json'].map((file) => join(facts, file))
  check('wire check', 'node', join(facts, 'check.mjs'), image, ...files, '--only', packages.join(','))
}

const wanted = new Set(values.only.split(','))
mkdirSync(results, { recursive: true })
rmSync(join(root, '.work/logs'), { recursive: true, force: true })

if (wanted.has('lint')) {
  check('format and lint', 'biome', 'check', '--diagnostic-level=warn', '.')
  check('package boundaries', 'node', 'tools/check-boundaries.mjs')
  check('types', 'nx', 'run-many', '-t', 'typecheck', '--outputStyle=static')
  check('types of the tools', 'tsc', '-p', 'tools/tsconfig.json')
  checkWire()
  if (existsSync(join(root, 'tools/compose-check'))) check('compose file', 'tools/compose-check')
}
if (wanted.has('unit')) suite('unit', '--config', 'tools/vitest.unit.config.ts', ...positionals)
const suites = ['--config', 'tools/e2e/vitest.config.ts', '--project']
if (wanted.has('e2e'))
  for (const system of values.system.split(','))
    suite(`e2e ${system}`, ...suites, system, ...(positionals.length > 0 ? positionals : values.suites.split(',')))
if (wanted.has('cluster')) suite('e2e cluster', ...suites, 'cluster', ...positionals)
if (wanted.has('reference')) suite('reference', ...suites, 'containerd', ...positionals)

if (skipped.length > 0) say(`\nskipped (${skipped.length}):\n  ${skipped.join('\n  ')}`)
if (failures.length > 0) say(`\nfailed:\n  ${failures.join('\n  ')}`)
say(`\n${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed === 0 ? 0 : 1
