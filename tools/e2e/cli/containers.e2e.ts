import { buildImage, pushImage } from '@flotilla/testing'
import { expect } from 'vitest'
import type { Fixture } from '../harness/fixture.ts'
import { type Invocation, runFlotilla, startFlotilla } from '../harness/flotilla.ts'
import { sharedImage } from '../harness/shared-image.ts'
import { suite } from '../harness/suite.ts'

const envOf = ({ system, namespace }: Fixture) => ({
  FLOTILLA_ADDRESS: system.address,
  FLOTILLA_NAMESPACE: namespace,
})
const run = (fixture: Fixture, args: readonly string[], more: Partial<Invocation> = {}) =>
  runFlotilla({ args, env: envOf(fixture), ...more })

suite(
  'flotilla and containers',
  ({ test }) => {
    test('run passes output, input and exit status on', async (fixture) => {
      const image = await fixture.pull()
      expect(await run(fixture, ['run', '--rm', image, 'sh', '-c', 'echo out; echo err >&2; exit 7'])).toEqual({
        code: 7,
        stdout: 'out\n',
        stderr: 'err\n',
      })
      expect(await run(fixture, ['run', '--rm', '-i', image, 'wc', '-c'], { input: 'x'.repeat(200_000) })).toEqual({
        code: 0,
        stdout: '200000\n',
        stderr: '',
      })
      expect(await fixture.ctr('containers', 'ls', '-q')).toBe('')
      expect(await fixture.ctr('leases', 'ls', '-q')).toBe('')
    })

    test('run gives what it was asked to', async (fixture) => {
      const image = await fixture.pull()
      const script = 'id -u; id -g; pwd; hostname; echo $COLOUR; cat /mnt/motd; touch /mnt/x 2>/dev/null || echo sealed'
      const asked = [
        '--user',
        '1000:1001',
        '-w',
        '/tmp',
        '--hostname',
        'here',
        '-e',
        'COLOUR=red',
        '-v',
        '/etc:/mnt:ro',
      ]
      const { stdout } = await run(fixture, [
        'run',
        '--rm',
        ...asked,
        image,
        'sh',
        '-c',
        script.replace('motd', 'hostname'),
      ])
      expect(stdout).toMatch(/^1000\n1001\n\/tmp\nhere\nred\n\S+\nsealed\n$/)
    })

    test('users and groups may be names of the image, wherever its layers say so', async (fixture) => {
      const { registry } = await sharedImage()
      const built = await buildImage({
        config: { User: 'app' },
        compression: 'zstd',
        layers: [
          [
            { name: './etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\napp:x:1234:2345::/home:/bin/sh\n' },
            { name: 'etc/group', content: 'root:x:0:\nstaff:x:50:\ncrew:x:60:app,other\n' },
          ],
          [{ name: 'etc/.wh.motd', content: '' }],
        ],
      })
      const image = await fixture.pull(await pushImage(registry, 'library/users:1', built))
      const id = async (...options: string[]) =>
        (await run(fixture, ['run', '--rm', ...options, image, 'sh', '-c', 'id -u; id -g; id -G'])).stdout.split('\n')
      expect(await id()).toEqual(['1234', '2345', '2345 60', ''])
      expect(await id('-u', 'app:staff')).toEqual(['1234', '50', '50', ''])
      expect(await id('-u', '7:crew')).toEqual(['7', '60', '60', ''])
      expect(await id('-u', 'root')).toEqual(['0', '0', '0', ''])
      expect((await run(fixture, ['run', '-u', 'app:nosuch', image, 'true'])).stderr).toContain(
        'group "nosuch" in /etc/group of the image',
      )
      expect((await run(fixture, ['run', '-d', '--name', 'named', image, 'sleep', '600'])).code).toBe(0)
      expect((await run(fixture, ['exec', '-u', 'root:crew', 'named', 'id', '-g'])).stdout).toBe('60\n')

      const without = await buildImage({
        layers: [[{ name: 'etc/.wh..wh..opq', content: '' }]],
        config: { User: 'root' },
      })
      const bare = await fixture.pull(await pushImage(registry, 'library/users:2', without))
      expect((await run(fixture, ['run', '--rm', bare, 'id', '-u'])).stdout).toBe('0\n')
      expect((await run(fixture, ['run', '--rm', '-u', 'nobody', bare, 'true'])).stderr).toContain('user "nobody"')
    })

    test('run with a terminal has one, of the size of ours', async (fixture) => {
      const image = await fixture.pull()
      const running = startFlotilla({
        // A shell that edits lines would ask the terminal where its cursor is, and nobody here answers.
        args: ['run', '--rm', '-it', image, 'sh', '-c', 'read a; stty size; tty; read b; exit $b'],
        env: envOf(fixture),
        terminal: true,
      })
      running.child.stdin.write('now\n')
      await running.prints(/24 80\s+\/dev\/pts\/0/)
      running.child.stdin.write('3\n')
      expect((await running.result).code).toBe(3)
    })

    test('run says with 125 that nothing was started, and leaves nothing', async (fixture) => {
      const image = await fixture.pull()
      const missing = await run(fixture, ['run', '--rm', image, '/no/such/program'])
      expect(missing.code).toBe(125)
      expect(missing.stderr).toMatch(/^flotilla run: .*\/no\/such\/program/)
      expect((await run(fixture, ['run', '--pull', 'never', 'example.org/nothing:1', 'true'])).code).toBe(125)
      expect((await run(fixture, ['run', '--user', 'nosuch', image, 'true'])).stderr).toContain(
        'user "nosuch" in /etc/passwd of the image',
      )
      expect(await fixture.ctr('containers', 'ls', '-q')).toBe('')
      expect(await fixture.ctr('snapshots', 'ls')).not.toContain('Active')
    })

    test('a detached container is listed, entered, logged and removed', async (fixture) => {
      const image = await fixture.pull()
      const script = 'for i in 1 2 3; do echo line $i; done; trap "echo bye; exit 4" TERM; while :; do sleep 0.1; done'
      const started = await run(fixture, ['run', '-d', '--name', 'web', '-l', 'colour=red', image, 'sh', '-c', script])
      expect(started).toEqual({ code: 0, stdout: 'web\n', stderr: '' })
      const { stdout: listed } = await run(fixture, ['ps', '-o', 'json'])
      expect(JSON.parse(listed)).toMatchObject([{ id: 'web', image, status: 'running', labels: { colour: 'red' } }])
      expect((await run(fixture, ['ps', '-q'])).stdout).toBe('web\n')

      const inside = await run(fixture, ['exec', '-i', '-e', 'A=b', 'web', 'sh', '-c', 'cat; echo $A; exit 5'], {
        input: 'in\n',
      })
      expect(inside).toEqual({ code: 5, stdout: 'in\nb\n', stderr: '' })
      expect((await run(fixture, ['exec', 'web', '/no/such'])).code).toBe(125)

      const following = startFlotilla({ args: ['logs', '-f', 'web'], env: envOf(fixture) })
      await following.prints(/line 3\n/)
      const topped = await run(fixture, ['top', '-o', 'json'])
      expect(JSON.parse(topped.stdout)).toMatchObject([{ id: 'web', memory: expect.any(Number) }])
      expect((await run(fixture, ['rm', 'web'])).code).not.toBe(0)
      expect(await run(fixture, ['kill', 'web'])).toMatchObject({ code: 0 })
      expect(await following.result).toEqual({ code: 0, stdout: 'line 1\nline 2\nline 3\nbye\n', stderr: '' })
      expect((await run(fixture, ['logs', '--tail', '2', 'web'])).stdout).toBe('line 3\nbye\n')
      expect((await run(fixture, ['ps', '--all'])).stdout).toMatch(/web .* stopped \(4\)/)
      expect((await run(fixture, ['ps', '-q'])).stdout).toBe('')
      expect(await run(fixture, ['rm', 'web'])).toMatchObject({ code: 0 })
      expect(await fixture.ctr('snapshots', 'ls')).not.toContain('Active')
    })

    test('events are told by number, and only once', async (fixture) => {
      const image = await fixture.pull()
      await run(fixture, ['run', '--rm', image, 'true'])
      const filter = ['--filter', `namespace==${fixture.namespace},topic~=^/tasks/`]
      const { stdout } = await run(fixture, ['events', '--from-sequence', '0', '--no-follow', '-o', 'json', ...filter])
      const all = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { topic: string; sequence: number; node: string })
      expect(all.map(({ topic }) => topic)).toEqual(['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete'])
      const rest = await run(fixture, ['events', '--from-sequence', String(all[2]?.sequence), '--no-follow', ...filter])
      expect(rest.stdout.split('\n').map((line) => line.split(' ')[4])).toEqual([
        '/tasks/exit',
        '/tasks/delete',
        undefined,
      ])
      expect(
        (await run(fixture, ['events', '--from-sequence', '0', '--no-follow', '--node', 'nowhere', ...filter])).stdout,
      ).toBe('')
    })

    test('images and nodes are listed', async (fixture) => {
      const image = await fixture.pull()
      expect((await run(fixture, ['images', '-q'])).stdout).toBe(`${image}\n`)
      expect((await run(fixture, ['images'])).stdout).toMatch(new RegExp(`^NAME .*\n${image} +sha256:[0-9a-f]{64} `))
      const nodes = JSON.parse((await run(fixture, ['nodes', '-o', 'json'])).stdout) as Array<{ name: string }>
      expect(nodes).toHaveLength(1)
      const name = nodes[0]?.name as string
      expect(await run(fixture, ['nodes', 'cordon', name])).toMatchObject({
        code: 0,
        stdout: `node ${name} is cordoned\n`,
      })
      expect((await run(fixture, ['nodes'])).stdout).toContain('Ready,Cordoned')
      expect(await run(fixture, ['nodes', 'uncordon', name])).toMatchObject({ code: 0 })
      expect((await run(fixture, ['nodes', 'list'])).stdout).not.toContain('Cordoned')
    })
  },
  { versions: ['1.6'], shared: true },
)
