import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Options } from '@flotilla/api/containerd/runc/v1/runc'
import { RuntimeInfo } from '@flotilla/api/containerd/types/types'
import { Status } from '@flotilla/api/containerd/v1/types/types'
import { Any } from '@flotilla/api/google/protobuf/any'
import { status } from '@flotilla/rpc'
import { until } from '@flotilla/testing'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { shimProcesses } from './shim-processes.ts'
import { shims } from './testing/shims.ts'
import { TestWorld } from './testing/world.ts'

function runcOptions(options: Partial<Options>): Any {
  const value = Buffer.from(Options.encode(Options.fromPartial(options)).finish())
  return Any.fromPartial({ typeUrl: 'containerd.runc.v1.Options', value })
}

/** Whether criu can work with this kernel; where it cannot, checkpoints are shown as skipped. */
function criuWorks(): boolean {
  try {
    execFileSync('criu', ['check'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const crun = ['/usr/bin/crun', '/usr/local/bin/crun'].find(existsSync)

describe.each(shims)('with the shim of containerd $name', ({ name, path, present }) => {
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

    it('shares the shim of its pod, which lives as long as one of them', async () => {
      const pod = (container: string, type: string) => ({
        annotations: { 'io.kubernetes.cri.sandbox-id': 'pod', 'io.kubernetes.cri.container-type': type },
        args: ['sleep', container === 'sidecar' ? '1000' : '2000'],
      })
      await world.run('pod', pod('pod', 'sandbox'))
      await world.run('sidecar', pod('sidecar', 'container'))
      const shim = await shimProcesses(world.deps.grpcAddress)
      expect(shim.map(({ id }) => id)).toEqual(['pod'])
      await world.remove('pod')
      expect((await world.state('sidecar')).status).toBe(Status.RUNNING)
      await world.restart()
      expect((await world.state('sidecar')).status).toBe(Status.RUNNING)
      expect(await shimProcesses(world.deps.grpcAddress)).toEqual(shim)
      await world.run('second', pod('second', 'container'))
      expect(await shimProcesses(world.deps.grpcAddress)).toEqual(shim)
      process.kill(shim[0]!.pid, 'SIGKILL')
      await world.event('second', '/tasks/delete')
      await world.event('sidecar', '/tasks/delete')
      expect((await world.tasks.list({ filter: '' }, world.call())).tasks).toEqual([])
    })

    it('logs to a file and to a program', async () => {
      await world.run('to-file', { args: ['echo', 'in a file'], stdout: `file://${world.temp.join('log.txt')}` })
      await world.wait('to-file')
      await world.delete('to-file')
      expect(await world.file('log.txt')).toBe('in a file\n')

      const program = world.temp.join('logger')
      // The pipes of the container are 3 and 4; closing 5 says that the program is ready.
      await writeFile(program, `#!/bin/sh\nexec 5>&-\ncat <&3 >${world.temp.join('logged.txt')}\n`)
      await chmod(program, 0o755)
      await world.run('to-program', { args: ['echo', 'to a program'], stdout: `binary://${program}?a=b` })
      await world.wait('to-program')
      await world.delete('to-program')
      await until('the log', async () => (await world.file('logged.txt').catch(() => '')) === 'to a program\n')
    })

    it.skipIf(crun === undefined)('runs under crun', async () => {
      // crun 1.8 refuses the hybrid cgroup hierarchy, so it is not shown the second one.
      const program = world.temp.join('crun')
      await writeFile(
        program,
        `#!/bin/sh
exec unshare --mount --propagation private sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec ${crun} "$@"' crun "$@"
`,
      )
      await chmod(program, 0o755)
      const out = await world.fifo('crun.out')
      const options = runcOptions({ binaryName: program })
      const args = ['sh', '-c', 'echo under crun; exit 6']
      await world.create('crun', { args, options, stdout: out.path })
      await world.start('crun')
      expect(await world.wait('crun')).toMatchObject({ exitStatus: 6 })
      await world.delete('crun')
      expect(await out.text).toBe('under crun\n')
      await expect(
        world.create('crun', { options: runcOptions({ binaryName: '/no/such/runtime' }) }),
      ).rejects.toMatchObject({ message: expect.stringContaining('/no/such/runtime') })
    })

    it('keeps what runc writes below our state', async () => {
      await world.create('state')
      expect(existsSync(join(world.deps.state, 'runc/tests/state/state.json'))).toBe(true)
      await world.remove('state').catch(() => world.delete('state'))
    })

    it('whose spec maps users lets the root group of the container in', async () => {
      const { createBundle, bundleOf, bundleRoots, removeBundle } = await import('./bundle.ts')
      const { stat } = await import('node:fs/promises')
      const roots = bundleRoots(world.temp.join('userns/state'), world.temp.join('userns/root'))
      const bundle = bundleOf(roots, 'tests', 'mapped')
      const linux = { gidMappings: [{ containerID: 0, hostID: 5000, size: 10 }] }
      await createBundle(bundle, Any.fromPartial({ value: Buffer.from(JSON.stringify({ linux })) }))
      expect(await stat(bundle.path)).toMatchObject({ gid: 5000, mode: 0o40710 })
      await removeBundle(bundle)
    })

    it('can be asked what its runtime is', async () => {
      const asked = world.tasks.runtimeInfo({ runtimePath: path, options: undefined }, world.call())
      if (name.startsWith('1.')) {
        await expect(asked).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
        return
      }
      const { info } = await asked
      expect(info!.typeUrl).toBe('containerd.types.RuntimeInfo')
      expect(RuntimeInfo.decode(info!.value)).toMatchObject({ name: 'io.containerd.runc.v2' })
    })

    it.skipIf(!criuWorks())('is checkpointed and restored', async () => {
      await world.run('frozen', { args: ['sleep', '1000'] })
      const request = { containerId: 'frozen', parentCheckpoint: '', options: undefined }
      const { path: files } = await world.tasks.checkpoint({ request }, world.call())
      expect(existsSync(join(files, 'inventory.img'))).toBe(true)
      await world.remove('frozen')
      await world.create('frozen', {}, world.call(), files)
      await world.start('frozen')
      expect((await world.state('frozen')).status).toBe(Status.RUNNING)
      expect(existsSync(files)).toBe(false)
      await world.remove('frozen')
    })

    it('that cannot be checkpointed says why and goes on', async () => {
      await world.run('uncheckpointed')
      const request = { containerId: 'uncheckpointed', parentCheckpoint: '', options: undefined }
      const bad = { ...request, options: Any.fromPartial({ typeUrl: 'no.such.Type', value: Buffer.from('x') }) }
      await expect(world.tasks.checkpoint({ request: bad }, world.call())).rejects.toThrow()
      expect((await world.state('uncheckpointed')).status).toBe(Status.RUNNING)
      await world.remove('uncheckpointed')
    })

    it('survives fifty at once', async () => {
      const ids = Array.from({ length: 50 }, (_, i) => `many-${i}`)
      await Promise.all(ids.map((id) => world.run(id, { args: ['sh', '-c', 'exit 3'] })))
      const exits = await Promise.all(ids.map((id) => world.wait(id)))
      expect(exits.map(({ exitStatus }) => exitStatus)).toEqual(ids.map(() => 3))
      expect((await world.tasks.list({ filter: '' }, world.call())).tasks).toHaveLength(50)
      await Promise.all(ids.map((id) => world.delete(id)))
      await world.event('many-0', '/tasks/delete')
      for (const id of ids) await world.event(id, '/tasks/delete')
      for (const id of ids) {
        expect(world.events.topics(id)).toEqual(['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete'])
      }
    })

    it('leaves no folder of a checkpoint that was taken for it', async () => {
      const files = world.temp.join('unpacked')
      await mkdir(files)
      await writeFile(join(files, 'a'), 'b')
      await world.create('restored', {}, world.call(), files).catch(() => {})
      const kept = await readFile(join(world.deps.root, 'io.containerd.runtime.v2.task/tests/restored/checkpoint/a'))
        .then(() => true)
        .catch(() => false)
      if (kept) await world.delete('restored')
      expect(existsSync(files)).toBe(false)
      expect(existsSync(join(world.deps.root, 'io.containerd.runtime.v2.task/tests/restored'))).toBe(false)
    })
  })
})
