import { writeFile } from 'node:fs/promises'
import {
  ControllerCreateRequest,
  ControllerDefinition,
  ControllerStartRequest,
  StoreDefinition,
} from '@flotilla/api/containerd/services/sandbox/v1/sandbox'
import { Sandbox } from '@flotilla/api/containerd/types/types'
import { status } from '@flotilla/rpc'
import { describe, expect } from 'vitest'
import { callIn, connectTo } from '../harness/clients.ts'
import { suite } from '../harness/suite.ts'
import { programOf, versions } from '../harness/versions.ts'

// Of Debian's shims only 1.7's has the sandbox API.
const hosting = versions.find(({ name, present }) => name === '1.7' && present)

suite(
  'sandboxes',
  ({ system, test, version }) => {
    // What ctr 2.1 does to containerd 2.1: it makes a record, names no controller, and is refused.
    test('as ctr 2.1 knows them: records, listed by filters and removed', async ({ ctr, run, world }) => {
      const runtime = programOf(version, 'containerd-shim-runc-v2')
      const config = world.join('pod.json')
      await writeFile(config, '{"ociVersion":"1.0.2"}')
      const started = await run(['sandboxes', 'run', '--runtime', runtime, config, 'pod1'])
      expect(started).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/failed to start: .*name can not be empty/),
      })
      const again = await run(['sandboxes', 'run', '--runtime', runtime, config, 'pod1'])
      expect(again).toMatchObject({ code: 1, stderr: expect.stringMatching(/already exists/) })
      expect(await ctr('sandboxes', 'ls')).toMatch(/^ID +CREATED +RUNTIME *\npod1 /)
      expect(await ctr('sandboxes', 'ls', '--filters', 'id==pod1')).toContain(runtime)
      expect(await ctr('sandboxes', 'ls', '--filters', 'id==other')).not.toContain('pod1')
      const bad = await run(['sandboxes', 'ls', '--filters', 'id==/x'])
      expect(bad).toMatchObject({ code: 1, stderr: expect.stringContaining('parse error') })
      await ctr('sandboxes', 'rm', '--force', 'pod1')
      expect(await ctr('sandboxes', 'ls')).not.toContain('pod1')
    })

    describe.skipIf(hosting === undefined)('with a shim that hosts them', () => {
      test('run with containers in them', async ({ ctr, namespace, pull, start }) => {
        using clients = connectTo(system().address)
        const call = () => callIn(namespace)
        const [store, controller] = [clients.of(StoreDefinition), clients.of(ControllerDefinition)]
        const runtime = programOf(hosting ?? version, 'containerd-shim-runc-v2')
        const watching = start(['events'])
        const id = { sandboxId: 'pod', sandboxer: 'shim' }
        const sandbox = Sandbox.fromPartial({
          ...id,
          runtime: { name: runtime },
          spec: { typeUrl: 'spec', value: Buffer.from('{}') },
        })
        await store.create({ sandbox }, call())
        await controller.create(ControllerCreateRequest.fromPartial({ ...id, sandbox }), call())
        const { address } = await controller.start(ControllerStartRequest.fromPartial(id), call())
        const image = await pull()
        await ctr('run', '-d', '--sandbox', 'pod', '--runtime', runtime, image, 'inside', 'sleep', '1000')
        expect((await controller.status({ ...id, verbose: false }, call())).address).toBe(address)
        await ctr('tasks', 'rm', '--force', 'inside')
        await controller.stop({ ...id, timeoutSecs: 0 }, call())
        await controller.shutdown(id, call()).catch((error: unknown) => {
          expect(error).toMatchObject({ code: status.NOT_FOUND })
        })
        await store.delete({ sandboxId: 'pod' }, call())
        const seen = await watching.prints(/\/sandboxes\/exit/)
        expect(seen).toMatch(/\/sandboxes\/create.*\/sandboxes\/start.*\/sandboxes\/exit/s)
        watching.child.kill()
        await watching.result
      })
    })

    test('that are not there, and controllers that are not there', async ({ namespace }) => {
      using clients = connectTo(system().address)
      const call = () => callIn(namespace)
      await expect(clients.of(StoreDefinition).get({ sandboxId: 'none' }, call())).rejects.toMatchObject({
        code: status.NOT_FOUND,
      })
      const shutdown = (sandboxer: string) =>
        clients.of(ControllerDefinition).shutdown({ sandboxId: 'none', sandboxer }, call())
      await expect(shutdown('')).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
      await expect(shutdown('nobody')).rejects.toMatchObject({ code: status.NOT_FOUND })
      await expect(shutdown('shim')).rejects.toMatchObject({ code: status.NOT_FOUND })
    })
  },
  { versions: ['2.1'] },
)
