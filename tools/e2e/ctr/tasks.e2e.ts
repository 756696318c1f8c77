import { existsSync } from 'node:fs'
import { until } from '@flotilla/testing'
import { expect } from 'vitest'
import type { Fixture } from '../harness/fixture.ts'
import { lastLine, rowsOf } from '../harness/output.ts'
import { printing } from '../harness/printing.ts'
import { descriptorsOf } from '../harness/processes.ts'
import { suite } from '../harness/suite.ts'

/** A container of the shared image that sleeps; gives its pid. */
async function sleeper({ ctr, pull }: Fixture, id = 'one'): Promise<number> {
  await ctr('run', '-d', await pull(), id, 'sleep', '1000')
  return Number(rowsOf(await ctr('tasks', 'ls')).find((row) => row[0] === id)?.[1])
}

async function statusOf({ ctr }: Fixture, id = 'one'): Promise<string | undefined> {
  return rowsOf(await ctr('tasks', 'ls')).find((row) => row[0] === id)?.[2]
}

// The client sends the size after the start; until then busybox's stty sees none and fails.
const sized = 'until [ "$(stty size 2>/dev/null)" = "24 80" ]; do sleep 0.05; done; stty size'

suite(
  'tasks',
  ({ test }) => {
    test('list shows id, pid and status', async (fixture) => {
      const { ctr } = fixture
      expect(await ctr('tasks', 'ls')).toMatch(/^TASK +PID +STATUS *\n$/)
      const pid = await sleeper(fixture)
      expect(existsSync(`/proc/${pid}`)).toBe(true)
      expect(rowsOf(await ctr('tasks', 'ls'))).toEqual([['one', String(pid), 'RUNNING']])
      expect(await ctr('tasks', 'ls', '-q')).toBe('one\n')
    })

    test('exec prints, gives the status, knows directory and user', async (fixture) => {
      const { ctr, run } = fixture
      await sleeper(fixture)
      expect(await ctr('tasks', 'exec', '--exec-id', 'e', 'one', ...printing('from exec'))).toBe('from exec\n')
      const args = ['tasks', 'exec', '--exec-id', 'e', '--cwd', '/tmp', '--user', '65534', 'one', 'sh', '-c']
      expect(await run([...args, 'id -u; pwd; sleep 0.3; exit 3'])).toEqual({
        code: 3,
        stdout: '65534\n/tmp\n',
        stderr: '',
      })
      expect(await run(['tasks', 'exec', '--exec-id', 'e', 'one', 'cat'], { input: 'piped' })).toMatchObject({
        stdout: 'piped',
      })
    })

    test('exec -t has a terminal', async (fixture) => {
      await sleeper(fixture)
      const args = ['tasks', 'exec', '-t', '--exec-id', 'e', 'one', 'sh', '-c', `${sized}; read line; exit 3`]
      const running = fixture.start(args, { terminal: true })
      await running.prints(/24 80/)
      running.child.stdin.write('\n')
      expect((await running.result).code).toBe(3)
    })

    test('exec -d goes on; ps lists it; kill ends it alone', async (fixture) => {
      const { ctr, refused } = fixture
      const pid = await sleeper(fixture)
      expect(await ctr('tasks', 'exec', '-d', '--exec-id', 'e', 'one', 'sleep', '500')).toBe('')
      expect(await refused('tasks', 'exec', '-d', '--exec-id', 'e', 'one', 'sleep', '500')).toBe(
        'ctr: id e: already exists\n',
      )
      const printed = await ctr('tasks', 'ps', 'one')
      expect(printed).toMatch(/^PID +INFO *\n/)
      const rows = rowsOf(printed)
      expect(rows[0]).toEqual([String(pid), '-'])
      expect(rows[1]?.[0]).toMatch(/^\d+$/)
      expect(printed).toMatch(/ExecID:e|exec_id:"e"/)
      expect(await ctr('tasks', 'kill', '--exec-id', 'e', '-s', 'KILL', 'one')).toBe('')
      await until('the exec to be gone', async () => rowsOf(await ctr('tasks', 'ps', 'one')).length === 1)
      expect(await statusOf(fixture)).toBe('RUNNING')
    })

    test('exec in a task that is not there, or of a program that is not', async (fixture) => {
      const { refused, namespace } = fixture
      await sleeper(fixture)
      expect(await refused('tasks', 'exec', '--exec-id', 'e', 'none', 'true')).toBe(
        `ctr: container "none" in namespace "${namespace}": not found\n`,
      )
      expect(await refused('tasks', 'exec', '--exec-id', 'e', 'one', 'nosuchprogram')).toMatch(
        /^ctr: OCI runtime exec failed: .*exec: "nosuchprogram": executable file not found/,
      )
      expect(rowsOf(await fixture.ctr('tasks', 'ps', 'one'))).toHaveLength(1)
    })

    test('metrics', async (fixture) => {
      const { ctr } = fixture
      await sleeper(fixture)
      const printed = await ctr('tasks', 'metrics', 'one')
      expect(printed).toMatch(/^ID +TIMESTAMP *\none +(\d{4}-\d\d-\d\d |seconds:\d+ nanos:)/)
      expect(printed).toMatch(/\nmemory\.usage_in_bytes +[1-9]\d*/)
      expect(printed).toMatch(/\npids\.current +[1-9]/)
      const json = JSON.parse(await ctr('tasks', 'metrics', '--format', 'json', 'one'))
      expect(json.pids.current).toBeGreaterThan(0)
    })

    test('pause and resume', async (fixture) => {
      const { ctr } = fixture
      await sleeper(fixture)
      expect(await ctr('tasks', 'pause', 'one')).toBe('')
      expect(await statusOf(fixture)).toBe('PAUSED')
      expect(await ctr('tasks', 'resume', 'one')).toBe('')
      expect(await statusOf(fixture)).toBe('RUNNING')
    })

    test('kill, then the stopped task waits to be removed', async (fixture) => {
      const { ctr, refused, run } = fixture
      const pid = await sleeper(fixture)
      expect(lastLine(await refused('tasks', 'rm', 'one'))).toBe(
        'ctr: task must be stopped before deletion: running: failed precondition',
      )
      expect(await ctr('tasks', 'kill', '-s', 'SIGKILL', 'one')).toBe('')
      await until('the task to stop', async () => (await statusOf(fixture)) === 'STOPPED')
      expect(rowsOf(await ctr('tasks', 'ls'))).toEqual([['one', String(pid), 'STOPPED']])
      expect(await refused('tasks', 'kill', 'one')).toBe('ctr: process already finished: not found\n')
      const removed = await run(['tasks', 'rm', 'one'])
      expect(removed.stderr).toMatch(/level=warning msg="task one exit with non-zero exit code 137"/)
      expect(await ctr('tasks', 'ls', '-q')).toBe('')
    })

    test('kill --all, rm --force, start again', async (fixture) => {
      const { ctr, run } = fixture
      const first = await sleeper(fixture)
      await ctr('tasks', 'kill', '--all', '-s', '9', 'one')
      await until('the task to stop', async () => (await statusOf(fixture)) === 'STOPPED')
      await run(['tasks', 'rm', 'one'])
      expect(await ctr('tasks', 'start', '-d', 'one')).toBe('')
      const second = Number(rowsOf(await ctr('tasks', 'ls'))[0]?.[1])
      expect(second).not.toBe(first)
      await run(['tasks', 'rm', '--force', 'one'])
      expect(existsSync(`/proc/${second}`)).toBe(false)
      expect(await ctr('tasks', 'ls', '-q')).toBe('')
    })

    test('attach gets the output from then on, and the status', async (fixture) => {
      const { ctr, start, pull } = fixture
      const script = 'while ! test -e /go; do sleep 0.1; done; echo went; exit 4'
      const foreground = start(['run', await pull(), 'one', 'sh', '-c', script])
      await until('the task to run', async () => (await statusOf(fixture)) === 'RUNNING')
      foreground.child.kill('SIGKILL')
      await foreground.result
      const attached = start(['tasks', 'attach', 'one'])
      // It has two descriptors on the FIFO then: one that only stands for the name, and one to read from.
      const outputs = () => descriptorsOf(attached.child.pid ?? 0).filter((path) => path.endsWith('-stdout'))
      await until('it to read the output', () => outputs().length === 2)
      await ctr('tasks', 'exec', '--exec-id', 'e', 'one', 'touch', '/go')
      expect(await attached.result).toMatchObject({ code: 4, stdout: 'went\n' })
    })

    test('signals reach the container through ctr run', async ({ start, pull, run }) => {
      const script =
        'trap "echo forwarded" WINCH; trap "echo caught; exit 9" TERM; echo ready; while :; do sleep 0.05; done'
      const running = start(['run', '--rm', await pull(), 'one', 'sh', '-c', script])
      await running.prints(/ready/)
      // ctr forwards only from when it has heard that the task started, which may be after the task's first output. Until
      // then this signal does nothing to it.
      const nudging = setInterval(() => running.child.kill('SIGWINCH'), 50)
      await running.prints(/forwarded/).finally(() => clearInterval(nudging))
      running.child.kill('SIGTERM')
      expect(await running.result).toMatchObject({
        code: 9,
        stdout: expect.stringMatching(/^ready\n(forwarded\n)+caught\n$/),
      })
      expect((await run(['containers', 'ls', '-q'])).stdout).toBe('')
    })

    test('checkpoint works where criu does, and says so where it does not', async (fixture) => {
      const { run, world } = fixture
      await sleeper(fixture)
      const { code, stderr } = await run(['tasks', 'checkpoint', '--image-path', world.join('cp'), 'one'])
      if (code === 0) expect(existsSync(world.join('cp'))).toBe(true)
      else
        expect(stderr).toMatch(/^ctr: runc did not terminate successfully: exit status 1: criu failed: type \w+ errno/)
      expect(await statusOf(fixture)).toMatch(/RUNNING|STOPPED/)
    })
  },
  { shared: true },
)
