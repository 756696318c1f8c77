import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { Status } from '@flotilla/api/containerd/v1/types/types'
import { status } from '@flotilla/rpc'
import { until } from '@flotilla/testing'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { shims } from './testing/shims.ts'
import { TestWorld } from './testing/world.ts'

const run = promisify(execFile)

describe.each(shims)('with the shim of containerd $name', ({ path, present }) => {
  describe.skipIf(!present)('a task', { timeout: 60_000 }, () => {
    let world: TestWorld

    beforeAll(async () => {
      world = await TestWorld.start(path)
    })

    afterAll(async () => {
      await world?.[Symbol.asyncDispose]()
    }, 60_000)

    afterEach(async () => {
      expect(await world.left()).toEqual({ mounts: [], processes: [], cgroups: [], networks: [], loops: [] })
    })

    it('is created, started, waited for and deleted, and tells of it once and in order', async () => {
      const out = await world.fifo('life.out')
      const pid = await world.create('life', { args: ['sh', '-c', 'echo hello; exit 7'], stdout: out.path })
      expect(pid).toBeGreaterThan(1)
      expect(await world.state('life')).toMatchObject({ id: 'life', pid, status: Status.CREATED })
      expect((await stat(world.bundle('life'))).mode & 0o777).toBe(0o700)
      const waiting = world.wait('life')
      expect(await world.start('life')).toBe(pid)
      const exit = await waiting
      expect(exit).toMatchObject({ exited: true, exitStatus: 7 })
      expect(await out.text).toBe('hello\n')
      expect(await world.state('life')).toMatchObject({
        status: Status.STOPPED,
        exitStatus: 7,
        exitedAt: exit.exitedAt,
      })
      expect(await world.wait('life')).toEqual(exit)
      expect(await world.delete('life')).toMatchObject({ id: '', pid, exitStatus: 7, exitedAt: exit.exitedAt })
      expect(existsSync(world.bundle('life'))).toBe(false)
      await world.event('life', '/tasks/delete')
      expect(world.events.topics('life')).toEqual(['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete'])
      expect(world.events.of('life')[0]!.event).toMatchObject({ pid, bundle: world.bundle('life') })
      expect(world.events.of('life')[2]!.event).toMatchObject({
        id: 'life',
        pid,
        exitStatus: 7,
        exitedAt: exit.exitedAt,
      })
      expect(world.events.of('life')[3]!.event).toMatchObject({ id: '', pid, exitStatus: 7 })
      const gone = { code: status.NOT_FOUND, message: 'task life not found: not found' }
      await expect(world.state('life')).rejects.toMatchObject(gone)
      await expect(world.delete('life')).rejects.toMatchObject(gone)
      await expect(world.wait('life')).rejects.toMatchObject(gone)
    })

    it('that was never started can be deleted', async () => {
      const pid = await world.create('unstarted')
      expect(await world.delete('unstarted')).toMatchObject({ pid })
      await world.event('unstarted', '/tasks/delete')
      expect(world.events.topics('unstarted')).toEqual(['/tasks/create', '/tasks/exit', '/tasks/delete'])
    })

    it('can be made again under the same id, and not twice at once', async () => {
      for (let i = 0; i < 3; i++) {
        await world.run('again', { args: ['true'] })
        await expect(world.create('again')).rejects.toMatchObject({
          code: status.ALREADY_EXISTS,
          message: 'task again: already exists',
        })
        await world.wait('again')
        await world.delete('again')
      }
      const results = await Promise.allSettled([1, 2, 3, 4].map(() => world.create('again')))
      expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
      await world.delete('again')
      expect(world.events.topics('again').filter((topic) => topic === '/tasks/delete')).toHaveLength(4)
    })

    it('is killed, paused, resumed and not deleted while it runs', async () => {
      await world.create('signals', { args: ['sleep', '1000'] })
      await world.start('signals')
      const running = {
        code: status.FAILED_PRECONDITION,
        message: 'task must be stopped before deletion: running: failed precondition',
      }
      await expect(world.delete('signals')).rejects.toMatchObject(running)
      await world.tasks.pause({ containerId: 'signals' }, world.call())
      expect((await world.state('signals')).status).toBe(Status.PAUSED)
      await expect(world.delete('signals')).rejects.toMatchObject({ code: status.FAILED_PRECONDITION })
      await world.tasks.resume({ containerId: 'signals' }, world.call())
      expect((await world.state('signals')).status).toBe(Status.RUNNING)
      await world.kill('signals')
      expect((await world.wait('signals')).exitStatus).toBe(137)
      await expect(world.kill('signals')).rejects.toMatchObject({ code: status.NOT_FOUND })
      await world.delete('signals')
    })

    it('runs more processes, each with its own exit', async () => {
      const pid = await world.run('execs')
      const out = await world.fifo('execs.out')
      await world.exec('execs', 'e1', { args: ['sh', '-c', 'echo in; exit 3'], stdout: out.path })
      await expect(world.exec('execs', 'e1', { args: ['true'] })).rejects.toMatchObject({ code: status.ALREADY_EXISTS })
      await expect(world.exec('execs', '', { args: ['true'] })).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
      await expect(world.exec('execs', 'a b', { args: ['true'] })).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        message: expect.stringContaining('invalid exec id a b: identifier "a b" must match'),
      })
      await expect(world.kill('execs', 9, 'e1')).rejects.toMatchObject({
        code: status.FAILED_PRECONDITION,
        message: expect.stringContaining('process not created'),
      })
      const waiting = world.wait('execs', 'e1')
      const execPid = await world.start('execs', 'e1')
      expect(await waiting).toMatchObject({ exitStatus: 3 })
      expect(await out.text).toBe('in\n')
      expect(await world.state('execs', 'e1')).toMatchObject({ id: 'e1', pid: execPid, status: Status.STOPPED })
      await expect(world.kill('execs', 9, 'e1')).rejects.toMatchObject({
        code: status.NOT_FOUND,
        message: 'process already finished: not found',
      })
      expect(await world.event('execs', '/tasks/exit')).toMatchObject({ event: { id: 'e1', pid: execPid } })
      const deleteExec = () => world.tasks.deleteProcess({ containerId: 'execs', execId: 'e1' }, world.call())
      expect(await deleteExec()).toMatchObject({ id: 'e1', pid: execPid, exitStatus: 3 })
      await expect(deleteExec()).rejects.toMatchObject({ code: status.NOT_FOUND })
      await expect(world.wait('execs', 'e1')).rejects.toMatchObject({ code: status.NOT_FOUND })

      await world.exec('execs', 'e2', { args: ['sleep', '1000'] })
      const second = await world.start('execs', 'e2')
      const { processes } = await world.tasks.listPids({ containerId: 'execs' }, world.call())
      expect(processes.map((process) => process.pid).sort()).toEqual([pid, second].sort())
      await expect(
        world.tasks.deleteProcess({ containerId: 'execs', execId: 'e2' }, world.call()),
      ).rejects.toMatchObject({ code: status.FAILED_PRECONDITION })
      await world.kill('execs')
      await world.wait('execs')
      await world.delete('execs')
      await expect.poll(() => world.events.of('execs').filter(({ topic }) => topic === '/tasks/exit').length).toBe(3)
      const topics = world.events.topics('execs')
      expect(topics.filter((topic) => topic === '/tasks/exec-started')).toHaveLength(2)
      expect(topics.at(-1)).toBe('/tasks/delete')
    })

    it('runs processes of one id one after the other, and each has an end of its own', async () => {
      await world.run('again')
      for (let round = 0; round < 20; round++) {
        await world.exec('again', 'e', { args: ['sh', '-c', `exit ${round}`] })
        const waiting = world.wait('again', 'e')
        const pid = await world.start('again', 'e')
        expect(await waiting).toMatchObject({ exited: true, exitStatus: round })
        expect(await world.tasks.deleteProcess({ containerId: 'again', execId: 'e' }, world.call())).toMatchObject({
          pid,
        })
      }
      await world.kill('again')
      await world.wait('again')
      await world.delete('again')
    })

    it('has a terminal, standard input that closes, and limits that change', async () => {
      await run('mkfifo', [world.temp.join('tty.in')])
      const out = await world.fifo('tty.out')
      await world.create('tty', {
        args: ['sh', '-c', 'stty size; read line; stty size; exit 4'],
        terminal: true,
        stdin: world.temp.join('tty.in'),
        stdout: out.path,
      })
      await world.tasks.resizePty({ containerId: 'tty', execId: '', width: 80, height: 24 }, world.call())
      await world.start('tty')
      const { open } = await import('node:fs/promises')
      const input = await open(world.temp.join('tty.in'), 'w')
      await world.tasks.resizePty({ containerId: 'tty', execId: '', width: 100, height: 30 }, world.call())
      await input.write('go\n')
      expect((await world.wait('tty')).exitStatus).toBe(4)
      await input.close()
      await world.delete('tty')
      expect(await out.text).toContain('30 100')

      await run('mkfifo', [world.temp.join('cat.in')])
      const copied = await world.fifo('cat.out')
      await world.create('cat', { args: ['cat'], stdin: world.temp.join('cat.in'), stdout: copied.path })
      await world.start('cat')
      const text = await open(world.temp.join('cat.in'), 'w')
      await text.write('through\n')
      await text.close()
      await world.tasks.closeIO({ containerId: 'cat', execId: '', stdin: true }, world.call())
      expect((await world.wait('cat')).exitStatus).toBe(0)
      expect(await copied.text).toBe('through\n')
      await world.delete('cat')

      await world.run('limits', { memory: 64 << 20 })
      const typeUrl = 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources'
      const value = Buffer.from(JSON.stringify({ memory: { limit: 96 << 20 } }))
      await world.tasks.update({ containerId: 'limits', resources: { typeUrl, value }, annotations: {} }, world.call())
      const { metrics } = await world.tasks.metrics({ filters: ['id==limits', 'id==none'] }, world.call())
      expect(metrics.map(({ id }) => id)).toEqual(['limits'])
      expect(metrics[0]!.data!.typeUrl).toMatch(/io\.containerd\.cgroups\.v[12]\.Metrics$/)
      expect((await world.tasks.metrics({ filters: ['id==none'] }, world.call())).metrics).toEqual([])
      await world.remove('limits')
    })

    it('that cannot be made leaves nothing', async () => {
      await expect(world.create('broken', { args: ['/no/such/program'] })).rejects.toMatchObject({
        message: expect.stringMatching(/^failed to create shim task: .*no such file or directory/s),
      })
      const bad = { containerId: 'broken', rootfs: [{ type: 'overlay', source: 'overlay', target: '', options: [] }] }
      const { CreateTaskRequest } = await import('@flotilla/api/containerd/services/tasks/v1/tasks')
      const container = world.container('broken')
      await expect(
        world.tasks.create(
          { request: CreateTaskRequest.fromPartial(bad), container, checkpointPath: '' },
          world.call(),
        ),
      ).rejects.toMatchObject({ message: expect.stringContaining('mount') })
      await expect(world.create('broken', { runtime: 'io.containerd.absent.v9' })).rejects.toMatchObject({
        code: status.FAILED_PRECONDITION,
        message: expect.stringMatching(/io\.containerd\.absent\.v9.*containerd-shim-absent-v9/),
      })
      await expect(world.create('broken', { runtime: 'nonsense' })).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
      })
      await expect(world.create('bad id')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
      expect(existsSync(world.bundle('broken'))).toBe(false)
      expect((await world.tasks.list({ filter: '' }, world.call())).tasks).toEqual([])
      await world.run('broken', { args: ['true'] })
      await world.wait('broken')
      await world.delete('broken')
    })

    it('whose caller leaves while it is made leaves nothing', async () => {
      for (const after of [1, 20, 60, 100, 150]) {
        const left = new AbortController()
        setTimeout(() => left.abort(), after)
        const made = await world.create('left', {}, world.call({ signal: left.signal })).catch(() => undefined)
        if (made !== undefined) await world.delete('left')
        expect(existsSync(world.bundle('left'))).toBe(false)
      }
      await until('all gone', async () => (await world.left()).processes.length === 0)
    })

    it('whose shim is killed is removed, with its exit and its deletion told', async () => {
      const pid = await world.run('orphan')
      const waiting = world.wait('orphan')
      const { shimProcesses } = await import('./shim-processes.ts')
      const shim = (await shimProcesses(world.deps.grpcAddress)).find(({ id }) => id === 'orphan')!
      process.kill(shim.pid, 'SIGKILL')
      expect(await waiting).toMatchObject({ exited: true, exitStatus: 137 })
      await world.event('orphan', '/tasks/delete')
      expect(world.events.topics('orphan').slice(-2)).toEqual(['/tasks/exit', '/tasks/delete'])
      expect(world.events.of('orphan').at(-2)!.event).toMatchObject({ id: 'orphan', pid, exitStatus: 137 })
      await expect(world.state('orphan')).rejects.toMatchObject({ code: status.NOT_FOUND })
    })
  })
})
