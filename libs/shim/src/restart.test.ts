import { existsSync } from 'node:fs'
import { mkdir, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Status } from '@flotilla/api/containerd/v1/types/types'
import { status } from '@flotilla/rpc'
import { until } from '@flotilla/testing'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { defaultSocket, shimProcesses } from './shim-processes.ts'
import { shims } from './testing/shims.ts'
import { TestWorld } from './testing/world.ts'

const gone = (pid: number) =>
  until(`the end of ${pid}`, () => {
    try {
      process.kill(pid, 0)
      return false
    } catch {
      return true
    }
  })

describe.each(shims)('with the shim of containerd $name', ({ path, present }) => {
  describe.skipIf(!present)('the next run of the node', { timeout: 60_000 }, () => {
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

    it('finds tasks and their processes as they were', async () => {
      const out = await world.fifo('goes-on.out')
      const args = ['sh', '-c', 'trap "echo end; exit 9" TERM; echo begin; while :; do sleep 0.1; done']
      const pid = await world.run('goes-on', { args, stdout: out.path })
      await world.exec('goes-on', 'e1', { args: ['sleep', '1000'] })
      const execPid = await world.start('goes-on', 'e1')
      await world.exec('goes-on', 'unstarted', { args: ['true'] })
      await world.event('goes-on', '/tasks/create')
      await world.restart()
      expect(await world.state('goes-on')).toMatchObject({ pid, status: Status.RUNNING })
      expect(await world.state('goes-on', 'e1')).toMatchObject({ pid: execPid, status: Status.RUNNING })
      await expect(world.create('goes-on')).rejects.toMatchObject({ code: status.ALREADY_EXISTS })
      await world.start('goes-on', 'unstarted')
      expect(await world.wait('goes-on', 'unstarted')).toMatchObject({ exitStatus: 0 })
      const waiting = world.wait('goes-on')
      await world.kill('goes-on', 15)
      expect(await waiting).toMatchObject({ exitStatus: 9 })
      await world.delete('goes-on')
      expect(await out.text).toBe('begin\nend\n')
      await world.event('goes-on', '/tasks/delete')
      expect(world.events.topics('goes-on').filter((topic) => topic === '/tasks/create')).toHaveLength(1)
    })

    it('tells of exits meanwhile, once, with their real status and time, and keeps the task', async () => {
      const args = ['sh', '-c', 'sleep 1; exit 5']
      const begun = Date.now() / 1000
      const pid = await world.run('away', { args })
      await world.run('execs-away')
      await world.exec('execs-away', 'e1', { args })
      const execPid = await world.start('execs-away', 'e1')
      await world.halt()
      await gone(pid)
      await gone(execPid)
      await new Promise((resolve) => setTimeout(resolve, 1_100))
      const ended = Date.now() / 1000 - 1
      await world.boot()
      for (const [id, exec, process] of [['away', '', pid] as const, ['execs-away', 'e1', execPid] as const]) {
        const { event } = await world.event(id, '/tasks/exit')
        expect(event).toMatchObject({ id: exec || id, pid: process, exitStatus: 5 })
        const state = await world.state(id, exec)
        expect(state).toMatchObject({ pid: process, status: Status.STOPPED, exitStatus: 5, exitedAt: event.exitedAt })
        const at = state.exitedAt!.seconds + state.exitedAt!.nanos / 1e9
        expect(at).toBeGreaterThan(begun)
        expect(at).toBeLessThan(ended)
        expect(await world.wait(id, exec)).toMatchObject({ exitStatus: 5, exitedAt: state.exitedAt })
      }
      await world.restart()
      // The shims send what they could not deliver again after a second or two.
      await new Promise((resolve) => setTimeout(resolve, 3_500))
      await world.restart()
      expect(await world.delete('away')).toMatchObject({ pid, exitStatus: 5 })
      await world.remove('execs-away')
      await world.event('away', '/tasks/delete')
      await world.event('execs-away', '/tasks/delete')
      for (const id of ['away', 'execs-away']) {
        const exits = world.events.of(id).filter(({ topic }) => topic === '/tasks/exit')
        expect(new Set(exits.map(({ event }) => event.pid)).size).toBe(exits.length)
        expect(world.events.topics(id).filter((topic) => topic === '/tasks/delete')).toHaveLength(1)
      }
    })

    it('cleans up after shims that died meanwhile', async () => {
      const pid = await world.run('died')
      const shim = (await shimProcesses(world.deps.grpcAddress)).find(({ id }) => id === 'died')!
      await world.halt()
      const socket = defaultSocket(world.deps.grpcAddress, shim.namespace, 'died')
      expect(existsSync(socket)).toBe(true)
      process.kill(shim.pid, 'SIGKILL')
      await gone(shim.pid)
      await world.boot()
      await world.event('died', '/tasks/delete')
      expect(existsSync(socket)).toBe(false)
      expect(world.events.topics('died').slice(-2)).toEqual(['/tasks/exit', '/tasks/delete'])
      expect(world.events.of('died').at(-1)!.event).toMatchObject({ pid, exitStatus: 137 })
      await expect(world.state('died')).rejects.toMatchObject({ code: status.NOT_FOUND })
    })

    it('delivers what could not be delivered, in order and once', async () => {
      world.events.away = true
      for (let i = 0; i < 5; i++) {
        await world.run(`queued-${i}`, { args: ['true'] })
        await world.wait(`queued-${i}`)
        await world.delete(`queued-${i}`)
        if (i === 2) await world.restart()
      }
      expect(world.events.of('queued-0')).toEqual([])
      await world.halt()
      world.events.away = false
      await world.boot()
      await world.event('queued-4', '/tasks/delete')
      for (let i = 0; i < 5; i++) {
        const topics = ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete']
        expect(world.events.topics(`queued-${i}`)).toEqual(topics)
      }
      const sequences = world.events.seen.map(({ eventId }) => Number(eventId.replace('node1/', '')))
      expect(sequences).toEqual(sequences.map((_, i) => sequences[0]! + i))
    })

    it('keeps a task whose shim does not answer, and ends such a shim of no task', async () => {
      const pid = await world.run('stuck')
      await world.create('stuck-early')
      const early = (await world.state('stuck-early')).pid
      const running = await shimProcesses(world.deps.grpcAddress)
      await world.halt()
      await rm(join(world.bundle('stuck-early'), 'processes'))
      for (const shim of running) process.kill(shim.pid, 'SIGSTOP')
      await world.boot()
      const { tasks } = await world.tasks.list({ filter: '' }, world.call())
      expect(tasks).toMatchObject([{ id: 'stuck', pid, status: Status.UNKNOWN }])
      await expect(world.create('stuck')).rejects.toMatchObject({ code: status.ALREADY_EXISTS })
      await gone(early)
      process.kill(running.find(({ id }) => id === 'stuck')!.pid, 'SIGCONT')
      expect(await world.state('stuck')).toMatchObject({ pid, status: Status.RUNNING })
      await world.remove('stuck')
    })

    it('removes bundles and shims that were never tasks', async () => {
      // A task as it is just after its shim was started: nobody was told of it.
      await world.create('half')
      const pid = (await world.state('half')).pid
      const shim = (await shimProcesses(world.deps.grpcAddress)).find(({ id }) => id === 'half')!
      await world.halt()
      await rm(join(world.bundle('half'), 'processes'))
      const state = dirname(world.bundle('half'))
      await mkdir(join(state, 'empty'))
      await mkdir(join(state, '.abcdef', 'rootfs'), { recursive: true })
      await mkdir(join(state, 'no-shim', 'rootfs'), { recursive: true })
      await writeFile(join(state, 'no-shim', 'config.json'), '{}')
      const work = join(world.deps.root, 'io.containerd.runtime.v2.task', 'tests', 'rebooted')
      await mkdir(work, { recursive: true })
      const checkpoints = join(world.deps.root, 'flotilla.node.v1.tasks/checkpoints')
      for (const name of ['old', 'new']) await mkdir(join(checkpoints, name), { recursive: true })
      await utimes(join(checkpoints, 'old'), 0, 0)
      await world.boot()
      expect(await readdir(checkpoints)).toEqual(['new'])
      await gone(pid)
      await gone(shim.pid)
      expect(await readdir(state)).toEqual([])
      expect(await readdir(dirname(work))).toEqual([])

      // A shim whose bundle is lost.
      await world.create('lost')
      const lost = (await shimProcesses(world.deps.grpcAddress)).find(({ id }) => id === 'lost')!
      const init = (await world.state('lost')).pid
      await world.halt()
      await rm(join(world.bundle('lost'), 'bootstrap.json'))
      await rm(join(world.bundle('lost'), 'address'), { force: true })
      await world.boot()
      await gone(lost.pid)
      await gone(init)
      expect(await readdir(state)).toEqual([])
    })
  })
})
