import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { type TempWorld, tempWorld, until } from '@flotilla/testing'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFailed } from 'vitest'
import { keepLogs } from '../harness/kept-logs.ts'
import { nothingMentions } from '../harness/leftovers.ts'
import { type System, startSystem } from '../harness/system.ts'
import { debian12 } from '../harness/versions.ts'
import { dockerIsPresent, type Engine, type ImageStore, startEngine } from './engine.ts'

const stores: readonly ImageStore[] = ['containerd image store', 'own graph driver']
const serve = 'echo hi > /tmp/index.html; exec httpd -f -p 80 -h /tmp'
/** To the millisecond; `docker events` itself would round it down to the second. */
const now = () => (Date.now() / 1000).toFixed(3)
const wait = 'trap "exit 3" TERM; echo up; while :; do sleep 0.05; done'

for (const store of stores)
  describe.skipIf(!dockerIsPresent)(`Docker with its ${store}`, () => {
    let world: TempWorld
    let system: System
    let engine: Engine
    const ok = (...args: string[]) => engine.ok(...args)
    const pidOf = (name: string) => ok('inspect', '-f', '{{.State.Pid}}', name)

    beforeAll(async () => {
      world = await tempWorld({ tmpfs: true, name: 'e2e-docker' })
      system = world.own(await startSystem(world, debian12))
      engine = await startEngine(world, system, store)
    })
    beforeEach(({ task }) => {
      onTestFailed(() => keepLogs({ ...system, logs: [...system.logs, engine.log] }, task.name))
    })
    afterAll(async () => {
      await world[Symbol.asyncDispose]()
      await nothingMentions(world.path)
    })

    it('runs a command and gives its output and exit code', async () => {
      expect(await ok('run', '--rm', '-e', 'A=b', 'box:1', 'sh', '-c', 'cat /etc/motd; echo $A')).toBe(
        'hello from a layer\nb',
      )
      expect(await engine.docker(['run', '--rm', 'box:1', 'sh', '-c', 'echo bad >&2; exit 7'])).toEqual({
        code: 7,
        stdout: '',
        stderr: 'bad\n',
      })
      expect(await engine.docker(['run', '--rm', '-i', 'box:1', 'cat'], 'through\n')).toMatchObject({
        stdout: 'through\n',
      })
      expect(await ok('ps', '-aq')).toBe('')
    })

    it('gives a terminal', async () => {
      expect(await engine.terminal('run', '--rm', '-it', 'box:1', 'tty')).toMatch(/\/dev\/(pts\/0|console)/)
    })

    it('walks a container through its life', async () => {
      await ok('run', '-d', '--name', 'life', '--memory', '64m', 'box:1', 'sh', '-c', wait)
      await until('it to print', async () => (await ok('logs', 'life')) === 'up')
      expect(await ok('exec', 'life', 'ps')).toContain('trap')
      expect(await ok('exec', 'life', 'cat', '/sys/fs/cgroup/memory/memory.limit_in_bytes')).toBe(`${64 << 20}`)
      expect(await ok('stats', '--no-stream', '--format', '{{.Name}} {{.MemUsage}}')).toMatch(/^life .* \/ 64MiB$/)
      expect(await ok('top', 'life')).toContain('trap')
      await ok('pause', 'life')
      expect(await ok('ps', '--format', '{{.Status}}')).toContain('Paused')
      await ok('unpause', 'life')
      await ok('restart', '-t', '5', 'life')
      await until('it to print again', async () => (await ok('logs', 'life')) === 'up\nup')
      await ok('stop', '-t', '5', 'life')
      expect(await ok('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'life')).toBe('exited 3')
      await ok('start', 'life')
      await ok('update', '--memory', '32m', '--memory-swap', '32m', 'life')
      await ok('kill', 'life')
      await until('its end', async () => (await ok('ps', '-a', '--format', '{{.Status}}')).startsWith('Exited (137)'))
      await ok('rm', 'life')
      const events = await ok(
        'events',
        '--since',
        '1m',
        '--until',
        now(),
        '--filter',
        'container=life',
        '--format',
        '{{.Action}}',
      )
      for (const event of ['create', 'start', 'pause', 'unpause', 'kill', 'die', 'restart', 'stop', 'destroy'])
        expect(events.split('\n')).toContain(event)
      expect(await ok('ps', '-aq')).toBe('')
    })

    it('mounts volumes, publishes ports, copies files, commits and saves', async () => {
      await ok('run', '-d', '--name', 'kept', '-v', 'vol:/vol', '-p', '127.0.0.1:8099:80', 'box:1', 'sh', '-c', serve)
      await until(
        'the port',
        async () => (await engine.inNetwork('busybox', 'wget', '-q', '-O', '-', 'http://127.0.0.1:8099')) === 'hi\n',
      )
      await ok('exec', 'kept', 'sh', '-c', 'echo kept > /vol/file; echo changed > /etc/motd')
      await ok('cp', 'kept:/etc/motd', world.join('motd'))
      expect(await readFile(world.join('motd'), 'utf8')).toBe('changed\n')
      await ok('cp', world.join('motd'), 'kept:/etc/again')
      await ok('commit', 'kept', 'box:2')
      expect(await ok('diff', 'kept')).toContain('C /etc/motd')
      await ok('rm', '-f', 'kept')
      expect(await ok('run', '--rm', '-v', 'vol:/vol', 'box:2', 'cat', '/vol/file', '/etc/again')).toBe('kept\nchanged')
      await ok('save', '-o', world.join('saved.tar'), 'box:2')
      await ok('rmi', 'box:2')
      expect(await ok('load', '-i', world.join('saved.tar'))).toContain('box:2')
      expect(await ok('run', '--rm', 'box:2', 'cat', '/etc/motd')).toBe('changed')
      await ok('rmi', 'box:2')
      await ok('volume', 'rm', 'vol')
    })

    it('tags, pushes, removes and pulls', async () => {
      const reference = `${engine.registry}/box:1`
      await ok('tag', 'box:1', reference)
      expect(await ok('images', '--format', '{{.Repository}}')).toContain(engine.registry)
      await ok('push', reference)
      await ok('rmi', reference)
      await ok('pull', reference)
      expect(await ok('run', '--rm', reference, 'cat', '/etc/motd')).toBe('hello from a layer')
      expect(await ok('images', '--format', '{{.Repository}}:{{.Tag}}')).toContain(reference)
      await ok('rmi', reference)
    })

    it('builds in stages with a cache, the second time from cache', async () => {
      const folder = world.join('build')
      await mkdir(folder)
      const dockerfile = [
        'FROM box:1 AS first',
        'ARG TIME=first',
        'RUN --mount=type=cache,target=/cache echo $TIME >> /cache/times; cp /cache/times /times',
        'FROM box:1',
        'COPY --from=first /times /times',
        'CMD ["cat", "/times"]',
      ]
      await writeFile(`${folder}/Dockerfile`, dockerfile.join('\n'))
      const build = async (...more: string[]) => {
        const { code, stderr } = await engine.docker(['build', '--progress', 'plain', '-t', 'built:1', ...more, folder])
        expect({ code, stderr }).toMatchObject({ code: 0 })
        return stderr
      }
      expect(await build()).not.toContain('CACHED')
      expect(await build()).toMatch(/RUN --mount[\s\S]*CACHED/)
      expect(await ok('run', '--rm', 'built:1')).toBe('first')
      await build('--build-arg', 'TIME=second')
      // The stage ran again, and found what the first run had left in its cache.
      expect(await ok('run', '--rm', 'built:1')).toBe('first\nsecond')
      await ok('rmi', 'built:1')
    })

    it('brings up two services that find each other', async () => {
      const file = world.join('compose.yaml')
      const services = {
        web: { image: 'box:1', command: ['sh', '-c', serve] },
        client: {
          image: 'box:1',
          depends_on: ['web'],
          command: ['sh', '-c', 'until wget -q -O - http://web/; do sleep 0.1; done; echo done'],
        },
      }
      await writeFile(file, JSON.stringify({ name: 'pair', services }))
      await ok('compose', '-f', file, 'up', '-d')
      await until('the client to be served', async () =>
        /hi[\s\S]*done/.test(await ok('compose', '-f', file, 'logs', 'client')),
      )
      await ok('compose', '-f', file, 'down', '-t', '0')
      expect(await ok('ps', '-aq')).toBe('')
    })

    it.each(['SIGKILL', 'SIGTERM'] as const)('finds its containers after a %s to the daemon below', async (signal) => {
      await ok('run', '-d', '--name', 'on', 'box:1', 'sh', '-c', wait)
      await ok('run', '-d', '--name', 'ends', 'box:1', 'sh', '-c', 'until [ -e /end ]; do sleep 0.05; done; exit 5')
      const pid = await pidOf('on')
      await (signal === 'SIGKILL' ? system.kill() : system.stop())
      expect(existsSync(`/proc/${pid}`)).toBe(true)
      await system.start()
      // dockerd connects again with pauses of its own.
      await until('exec to work', async () => (await engine.docker(['exec', 'ends', 'touch', '/end'])).code === 0)
      expect(await ok('wait', 'ends')).toBe('5')
      expect(await pidOf('on')).toBe(pid)
      await ok('stop', '-t', '5', 'on')
      expect(await ok('inspect', '-f', '{{.State.ExitCode}}', 'on')).toBe('3')
      await ok('rm', 'on', 'ends')
    })

    it('leaves nothing after system prune', async () => {
      expect(await ok('system', 'df', '--format', '{{.Type}} {{.TotalCount}}')).toContain('Images')
      await ok('system', 'prune', '-af', '--volumes')
      expect(await ok('images', '-aq')).toBe('')
      expect(await ok('system', 'df', '--format', '{{.Type}} {{.TotalCount}}')).toMatch(/^Images 0\nContainers 0/)
    })
  })
