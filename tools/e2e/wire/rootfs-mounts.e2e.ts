import { existsSync } from 'node:fs'
import { copyFile, mkdir, readFile } from 'node:fs/promises'
import { Container, ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { MountsDefinition } from '@flotilla/api/containerd/services/mounts/v1/mounts'
import { CreateTaskRequest, TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { mountInfo } from '@flotilla/linux'
import { status } from '@flotilla/rpc'
import { expect } from 'vitest'
import { callIn, connectTo } from '../harness/clients.ts'
import { suite } from '../harness/suite.ts'

suite(
  'root file systems upon mounts that shims cannot make',
  ({ system, test }) => {
    test('are made for a task, over kill -9, and gone with it', async ({ ctr, namespace, world }) => {
      using clients = connectTo(system().address)
      const call = () => callIn(namespace)
      const [containers, mounts, tasks] = [
        clients.of(ContainersDefinition),
        clients.of(MountsDefinition),
        clients.of(TasksDefinition),
      ]
      for (const folder of ['lower/bin', 'lower/proc', 'lower/dev', 'lower/sys', 'upper', 'work'])
        await mkdir(world.join(folder), { recursive: true })
      await copyFile('/bin/busybox', world.join('lower/bin/busybox'))
      const rootfs = [
        { type: 'bind', source: world.join('lower'), target: '', options: ['rbind', 'ro'] },
        {
          type: 'format/overlay',
          source: 'overlay',
          target: '',
          options: [
            'lowerdir={{ mount 0 }}',
            `upperdir=${world.join('upper')}`,
            `workdir=${world.join('work')}`,
            'index=off',
          ],
        },
      ]
      const below = () => mountInfo().filter(({ target }) => target.startsWith(`${system().state}/`))

      const make = async (id: string, ...args: string[]) => {
        const spec = JSON.parse(await ctr('oci', 'spec'))
        spec.process.args = args
        spec.process.terminal = false
        spec.linux.cgroupsPath = `/${namespace}/${id}`
        const container = Container.fromPartial({
          id,
          runtime: { name: 'io.containerd.runc.v2' },
          spec: {
            typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
            value: Buffer.from(JSON.stringify(spec)),
          },
        })
        await containers.create({ container }, call())
        await tasks.create(CreateTaskRequest.fromPartial({ containerId: id, rootfs }), call())
      }
      const of = (containerId: string) => ({ containerId, execId: '' })
      const infoOf = (name: string) => mounts.info({ name }, call())

      await make('writes', '/bin/busybox', 'sh', '-c', 'echo here > /made; /bin/busybox sleep 1000')
      expect((await infoOf('writes')).info?.active).toHaveLength(1)
      await tasks.start(of('writes'), call())
      await system().kill()
      await system().start()
      using again = connectTo(system().address)
      const later = { mounts: again.of(MountsDefinition), tasks: again.of(TasksDefinition) }
      expect((await later.mounts.info({ name: 'writes' }, call())).info?.active).toHaveLength(1)
      await later.tasks.kill({ ...of('writes'), signal: 9, all: true }, call())
      await later.tasks.wait(of('writes'), call())
      await later.tasks.delete({ containerId: 'writes' }, call())
      await expect(later.mounts.info({ name: 'writes' }, call())).rejects.toMatchObject({ code: status.NOT_FOUND })
      expect(below()).toEqual([])
      expect(await readFile(world.join('upper/made'), 'utf8')).toBe('here\n')
      expect(existsSync(world.join('lower/made'))).toBe(false)

      await expect(make('fails', '/nosuch')).rejects.toThrow(/nosuch/)
      await expect(infoOf('fails')).rejects.toMatchObject({ code: status.NOT_FOUND })
      expect(below()).toEqual([])
    })
  },
  { versions: ['2.1'] },
)
