import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { systemSnapshot, tempWorld, until } from '@flotilla/testing'
import { expect } from 'vitest'
import { runCtr } from '../harness/ctr.ts'
import { rowsOf } from '../harness/output.ts'
import { printing } from '../harness/printing.ts'
import { suite } from '../harness/suite.ts'
import { startSystem, underTest } from '../harness/system.ts'
import { repository } from '../harness/versions.ts'
import { everyServiceAnswers, patience } from './places.ts'
import { tickToFile } from './ticker.ts'

const [program, ...verb] = underTest === 'services' ? ['services', 'up'] : ['standalone']

/** Runs the program where it should be refused; answers its status and what it says. */
function refusedStart(...args: string[]): Promise<{ code: unknown; stderr: string }> {
  return new Promise((resolve) => {
    const command = join(repository, 'tools', program ?? '')
    execFile(command, [...verb, ...args], { timeout: 60_000, killSignal: 'SIGKILL' }, (error, _, stderr) =>
      resolve({ code: error?.code ?? 0, stderr }),
    )
  })
}

suite(
  'instances',
  ({ test, version }) => {
    test(
      'SIGTERM ends it, not the containers; the next start finds them',
      async (fixture) => {
        const { ctr, pull, system } = fixture
        const one = await tickToFile(fixture, await pull(), 'one')
        const pids = [...(await system.processes()).values()]
        await system.stop()
        await until('every process of ours to end', async () => {
          const { processes } = await systemSnapshot({ mentions: [system.root] })
          return !processes.some((line) => pids.includes(Number(line.split(' ')[0])))
        })
        await one.goesOn()
        await system.start()
        await everyServiceAnswers(system)
        expect(rowsOf(await ctr('tasks', 'ls'))).toEqual([['one', String(one.pid), 'RUNNING']])
        await one.goesOn()
        expect(await ctr('tasks', 'exec', '--exec-id', 'x', 'one', ...printing('inside'))).toBe('inside\n')
      },
      patience,
    )

    test(
      'two in different directories do not meet',
      async (fixture) => {
        const { ctr, pull, namespace } = fixture
        await using world = await tempWorld({ tmpfs: true, name: 'e2e' })
        await using other = await startSystem(world, version)
        const there = async (...args: string[]) => {
          const { code, stdout, stderr } = await runCtr({ address: other.address, version, namespace, args })
          if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
          return stdout
        }
        const reference = await pull()
        expect(await there('images', 'ls', '-q')).toBe('')
        expect(await there('content', 'ls', '-q')).toBe('')
        expect(await there('namespaces', 'ls', '-q')).toBe('')

        await ctr('run', '-d', reference, 'one', 'sleep', '1000')
        await there(...fixture.local('pull', '--plain-http', reference))
        expect(await there('tasks', 'ls', '-q')).toBe('')
        // The same name in the same namespace, elsewhere; control groups are the machine's.
        await there('run', '-d', '--cgroup', `/${namespace}/other`, reference, 'one', 'sleep', '1000')
        const [[, pid] = []] = rowsOf(await ctr('tasks', 'ls'))
        expect(rowsOf(await there('tasks', 'ls'))).toEqual([['one', expect.not.stringMatching(`^${pid}$`), 'RUNNING']])
        await there('tasks', 'rm', '--force', 'one')
        await there('containers', 'rm', 'one')
        await there('images', 'rm', '--sync', reference)
        expect(rowsOf(await ctr('tasks', 'ls'))).toEqual([['one', pid, 'RUNNING']])
        expect(await ctr('images', 'ls', '-q')).toBe(`${reference}\n`)
        expect(await ctr('tasks', 'exec', '--exec-id', 'x', 'one', ...printing('inside'))).toBe('inside\n')
      },
      patience,
    )

    test(
      'a second one on the same root is refused, says why, and harms nothing',
      async ({ ctr, pull, system, world }) => {
        const reference = await pull()
        const before = await system.processes()
        const elsewhere = ['--state', world.join('state'), '--address', world.join('a.sock')]
        const inUse = {
          code: 1,
          stderr: expect.stringContaining(`${system.root} is in use by another flotilla process`),
        }
        expect(await refusedStart('--root', system.root, ...elsewhere)).toEqual(inUse)
        const same = await refusedStart('--root', system.root, '--state', system.state, '--address', system.address)
        expect(same.code).toBe(1)
        expect(same.stderr).toMatch(/is in use by another flotilla process|are running already/)
        expect(await system.processes()).toEqual(before)
        expect(await ctr('run', '--rm', reference, 'one', 'echo', 'works')).toBe('works\n')
      },
      patience,
    )
  },
  { versions: ['1.6'] },
)
