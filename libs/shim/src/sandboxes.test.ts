import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  ControllerCreateRequest,
  ControllerStartRequest,
  ControllerStatusRequest,
} from '@flotilla/api/containerd/services/sandbox/v1/sandbox'
import { CreateTaskRequest } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { Status } from '@flotilla/api/containerd/v1/types/types'
import { status } from '@flotilla/rpc'
import { until } from '@flotilla/testing'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { shimProcesses } from './shim-processes.ts'
import { shims } from './testing/shims.ts'
import { namespace, TestWorld } from './testing/world.ts'

/** Shims that have the sandbox API: upstream left it out again after 1.7. */
const withApi = ['1.7']

describe.each(shims)('with the shim of containerd $name', ({ name, path, present }) => {
  describe.skipIf(!present)('a sandbox', { timeout: 60_000 }, () => {
    let world: TestWorld

    beforeAll(async () => {
      world = await TestWorld.start(path)
    })
    afterAll(async () => {
      await world?.[Symbol.asyncDispose]()
    }, 60_000)
    afterEach(async () => {
      expect(await world.left()).toEqual({ mounts: [], processes: [], cgroups: [], networks: [], loops: [] })
      expect(existsSync(bundle('pod'))).toBe(false)
    })

    const bundle = (id: string) => join(world.deps.state, 'io.containerd.sandbox.controller.v1.shim', namespace, id)
    const sandboxer = 'shim'
    const create = (sandboxId: string) =>
      world.sandboxes.create(
        ControllerCreateRequest.fromPartial({
          sandboxId,
          sandboxer,
          sandbox: {
            sandboxId,
            sandboxer,
            runtime: { name: path },
            spec: { typeUrl: 'spec', value: Buffer.from('{}') },
          },
        }),
        world.call(),
      )
    const start = (sandboxId: string) =>
      world.sandboxes.start(ControllerStartRequest.fromPartial({ sandboxId, sandboxer }), world.call())
    const stop = (sandboxId: string) => world.sandboxes.stop({ sandboxId, sandboxer, timeoutSecs: 5 }, world.call())
    const shutdown = (sandboxId: string) => world.sandboxes.shutdown({ sandboxId, sandboxer }, world.call())
    const stateOf = (sandboxId: string) =>
      world.sandboxes.status(ControllerStatusRequest.fromPartial({ sandboxId, sandboxer }), world.call())
    const told = (topic: string, id = 'pod') =>
      world.events.seen.filter((event) => event.topic === topic && event.event.sandboxId === id)
    const shimIds = async () => (await shimProcesses(world.deps.grpcAddress)).map(({ id }) => id)

    async function runInside(id: string, sandbox: string): Promise<void> {
      const container = { ...world.container(id, { args: ['sleep', '1000'] }), sandbox }
      const request = CreateTaskRequest.fromPartial({ containerId: id, rootfs: await world.rootfs(id) })
      await world.tasks.create({ request, container, checkpointPath: '' }, world.call())
      await world.start(id)
    }

    if (!withApi.includes(name)) {
      it('is refused, and nothing is left', async () => {
        await expect(create('pod')).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
        expect(await shimIds()).toEqual([])
      })
      return
    }

    it('lives from create to shutdown, and each step is told of once', async () => {
      await create('pod')
      await expect(create('pod')).rejects.toMatchObject({ code: status.ALREADY_EXISTS })
      const { address, version } = await start('pod')
      expect(address).toMatch(/^ttrpc\+unix:\/\/\//)
      expect(version).toBeGreaterThanOrEqual(2)
      expect((await world.sandboxes.platform({ sandboxId: 'pod', sandboxer }, world.call())).platform?.os).toBe('linux')
      expect((await stateOf('pod')).address).toBe(address)
      await stop('pod')
      await shutdown('pod').catch((error: unknown) => expect(error).toMatchObject({ code: status.NOT_FOUND }))
      await until('the end to be told', () => told('/sandboxes/exit').length > 0)
      for (const topic of ['/sandboxes/create', '/sandboxes/start', '/sandboxes/exit'])
        expect(told(topic)).toHaveLength(1)
      await until('the bundle to go', () => !existsSync(bundle('pod')))
    })

    it('hosts the tasks of its containers, also after a restart', async () => {
      await create('pod')
      await start('pod')
      await runInside('first', 'pod')
      expect(await shimIds()).toEqual(['pod'])
      await world.restart()
      await runInside('second', 'pod')
      expect(await shimIds()).toEqual(['pod'])
      await world.remove('first')
      await world.remove('second')
      // The shim stays without tasks: it is the sandbox's.
      expect(await shimIds()).toEqual(['pod'])
      expect((await stateOf('pod')).address).not.toBe('')
      await shutdown('pod')
      expect(await shimIds()).toEqual([])
    })

    it('whose shim is killed ends, with its tasks', async () => {
      await create('pod')
      await start('pod')
      await runInside('inside', 'pod')
      expect((await world.state('inside')).status).toBe(Status.RUNNING)
      const waiting = world.sandboxes.wait({ sandboxId: 'none', timeoutMs: 0 }, world.call())
      await expect(waiting).rejects.toMatchObject({ code: status.NOT_FOUND })
      const [shim] = await shimProcesses(world.deps.grpcAddress)
      process.kill(shim!.pid, 'SIGKILL')
      await world.event('inside', '/tasks/delete')
      await until('the bundle to go', () => !existsSync(bundle('pod')))
      await expect(shutdown('pod')).rejects.toMatchObject({ code: status.NOT_FOUND })
    })

    it('that died while the agent was away is told of and removed', async () => {
      await create('pod')
      const before = told('/sandboxes/exit').length
      await world.halt()
      const [shim] = await shimProcesses(world.deps.grpcAddress)
      process.kill(shim!.pid, 'SIGKILL')
      await until('the shim to go', async () => (await shimIds()).length === 0)
      await world.boot()
      await until('the end to be told', () => told('/sandboxes/exit').length === before + 1)
    })
  })
})
