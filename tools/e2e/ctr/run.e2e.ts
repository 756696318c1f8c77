import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { until } from '@flotilla/testing'
import { expect } from 'vitest'
import { lastLine, rowsOf, withoutUnknown } from '../harness/output.ts'
import { suite } from '../harness/suite.ts'

// The client sends the size after the start; until then busybox's stty sees none and fails.
const sized = 'until [ "$(stty size 2>/dev/null)" = "24 80" ]; do sleep 0.05; done; stty size'

suite(
  'run',
  ({ test, version }) => {
    const since17 = version.name !== '1.6'

    test('--rm prints the output, gives the status, leaves nothing', async ({ ctr, run, pull }) => {
      const reference = await pull()
      expect(await run(['run', '--rm', reference, 'one', 'echo', 'hi', 'there'])).toEqual({
        code: 0,
        stdout: 'hi there\n',
        stderr: '',
      })
      expect(await run(['run', '--rm', reference, 'one', 'sh', '-c', 'echo problem >&2; exit 7'])).toEqual({
        code: 7,
        stdout: '',
        stderr: 'problem\n',
      })
      expect(await ctr('containers', 'ls', '-q')).toBe('')
      expect(await ctr('tasks', 'ls', '-q')).toBe('')
      expect(rowsOf(await ctr('snapshots', 'ls')).every((row) => row.at(-1) === 'Committed')).toBe(true)
    })

    test('standard input reaches the container, and its end too', async ({ run, pull }) => {
      const input = 'line\n'.repeat(50_000)
      const { code, stdout } = await run(['run', '--rm', await pull(), 'one', 'wc', '-c'], { input })
      expect([code, stdout.trim()]).toEqual([0, String(input.length)])
    })

    test('much output is whole', async ({ ctr, pull, start }) => {
      const script =
        'i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done; until test -e /go; do sleep 0.1; done'
      const running = start(['run', '--rm', await pull(), 'one', 'sh', '-c', script])
      // The shim gives whoever reads two seconds from the exit on, which a busy machine may not have.
      await running.prints(/line 19999\n$/)
      await ctr('tasks', 'exec', '--exec-id', 'go', 'one', 'touch', '/go')
      const { code, stdout } = await running.result
      expect(code).toBe(0)
      expect(stdout.trim().split('\n')).toEqual(Array.from({ length: 20_000 }, (_, line) => `line ${line}`))
    })

    test('-d leaves it running, and the same id is refused', async ({ ctr, refused, pull }) => {
      const reference = await pull()
      expect(await ctr('run', '-d', reference, 'one', 'sleep', '1000')).toBe('')
      expect(rowsOf(await ctr('tasks', 'ls'))).toEqual([['one', expect.stringMatching(/^\d+$/), 'RUNNING']])
      expect(await refused('run', '-d', reference, 'one', 'sleep', '1000')).toBe(
        'ctr: snapshot "one": already exists\n',
      )
      expect(await refused('run', '-d', '--rm', reference, 'two', 'true')).toMatch(/cannot be specified together|both/)
    })

    test('without --rm the container stays, and can be started again', async ({ ctr, pull }) => {
      expect(await ctr('run', await pull(), 'one', 'echo', 'once')).toBe('once\n')
      expect(await ctr('containers', 'ls', '-q')).toBe('one\n')
      expect(await ctr('tasks', 'ls', '-q')).toBe('')
      expect(await ctr('tasks', 'start', 'one')).toBe('once\n')
    })

    test('-t gives a terminal of the right size', async ({ start, pull }) => {
      const args = ['run', '--rm', '-t', await pull(), 'one', 'sh', '-c', `tty; ${sized}; read line`]
      const running = start(args, { terminal: true })
      // ctr may lose what is printed just before the end; so the end waits for the print.
      expect((await running.prints(/24 80/)).replaceAll('\r', '')).toBe('/dev/pts/0\n24 80\n')
      running.child.stdin.write('\n')
      expect((await running.result).code).toBe(0)
    })

    test('-t takes what is typed', async ({ start, pull }) => {
      const running = start(['run', '--rm', '-t', await pull(), 'one', 'sh'], { terminal: true })
      await running.prints(/#/)
      running.child.stdin.write('echo so"me"thing\n')
      await running.prints(/\nsomething/)
      running.child.stdin.write('exit 5\n')
      expect((await running.result).code).toBe(5)
    })

    test('--env, --cwd, --label', async ({ ctr, pull }) => {
      const reference = await pull()
      const args = ['--env', 'A=b c', '--env', 'D=', '--cwd', '/etc', '--label', 'x=y']
      expect(await ctr('run', '--rm', ...args, reference, 'one', 'sh', '-c', 'echo "$A|$D|$PATH"; pwd')).toBe(
        'b c||/bin\n/etc\n',
      )
    })

    test('--mount binds a directory, read-only when told', async ({ run, pull, world }) => {
      const reference = await pull()
      mkdirSync(world.join('data'))
      writeFileSync(world.join('data/file'), 'from the host\n')
      const mounted = (options: string) => [
        '--mount',
        `type=bind,src=${world.join('data')},dst=/data,options=${options}`,
      ]
      const script = 'cat /data/file; echo changed > /data/other'
      expect(await run(['run', '--rm', ...mounted('rbind:rw'), reference, 'one', 'sh', '-c', script])).toMatchObject({
        code: 0,
        stdout: 'from the host\n',
      })
      expect(readFileSync(world.join('data/other'), 'utf8')).toBe('changed\n')
      expect(await run(['run', '--rm', ...mounted('rbind:ro'), reference, 'one', 'sh', '-c', script])).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('Read-only file system'),
      })
    })

    test('--read-only', async ({ run, pull }) => {
      expect(await run(['run', '--rm', '--read-only', await pull(), 'one', 'touch', '/x'])).toEqual({
        code: 1,
        stdout: '',
        stderr: 'touch: /x: Read-only file system\n',
      })
    })

    test('--net-host shares the network', async ({ ctr, pull }) => {
      const reference = await pull()
      const own = execFileSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' })
      expect(await ctr('run', '--rm', '--net-host', reference, 'one', 'readlink', '/proc/self/ns/net')).toBe(own)
      expect(await ctr('run', '--rm', reference, 'one', 'readlink', '/proc/self/ns/net')).not.toBe(own)
    })

    test('--memory-limit and --cpus are in the control group', async ({ ctr, pull, namespace }) => {
      await ctr('run', '-d', '--memory-limit', '67108864', '--cpus', '0.5', await pull(), 'one', 'sleep', '100')
      const read = (file: string) => readFileSync(`/sys/fs/cgroup/${file}`, 'utf8').trim()
      expect(read(`memory/${namespace}/one/memory.limit_in_bytes`)).toBe('67108864')
      const [quota, period] = ['quota', 'period'].map((name) => Number(read(`cpu/${namespace}/one/cpu.cfs_${name}_us`)))
      expect((quota ?? 0) / (period ?? 1)).toBe(0.5)
    })

    test('--log-uri file:// takes both outputs', async ({ ctr, pull, world }) => {
      const log = world.join('output.log')
      // Debian 12's shim closes the file of both when the first of the two ends, whatever it has not copied of the other.
      const script = 'echo out; echo err >&2; sleep 1'
      await ctr('run', '-d', '--log-uri', `file://${log}`, await pull(), 'one', 'sh', '-c', script)
      await until('the log to be written', () => readFileSync(log, 'utf8').split('\n').length === 3)
      expect(readFileSync(log, 'utf8').split('\n').sort()).toEqual(['', 'err', 'out'])
    })

    test('--log-uri binary:// feeds a program', async ({ ctr, pull, world }) => {
      const [program, log] = [world.join('logger'), world.join('logged')]
      // The shim gives standard output as 3, standard error as 4, and waits for 5 to be closed.
      writeFileSync(program, `#!/bin/bash\nexec 5>&-\n{ env | grep ^CONTAINER_; echo "key $2"; cat <&3; } > ${log}\n`)
      chmodSync(program, 0o755)
      await ctr('run', '-d', '--log-uri', `binary://${program}?colour=blue`, await pull(), 'one', 'echo', 'logged')
      const text = await until('the program to have written', () => {
        const written = readFileSync(log, 'utf8')
        return written.includes('logged') && written
      })
      expect(text).toContain('CONTAINER_ID=one')
      expect(text).toContain('key blue')
    })

    test('--snapshotter native', async ({ ctr, pull }) => {
      expect(await ctr('run', '--rm', '--snapshotter', 'native', await pull(), 'one', 'cat', '/etc/motd')).toBe(
        'hello from a layer\n',
      )
    })

    test('--runc-binary crun', async ({ run, pull, world }) => {
      const reference = await pull()
      // crun refuses the hybrid hierarchy of control groups; it works where it cannot see the unified part.
      const crun = world.join('crun')
      writeFileSync(
        crun,
        '#!/bin/sh\nexec unshare -m sh -c \'umount /sys/fs/cgroup/unified 2>/dev/null; exec crun "$@"\' crun "$@"\n',
      )
      chmodSync(crun, 0o755)
      const result = await run(['run', '--rm', '--runc-binary', crun, reference, 'one', 'echo', 'by crun'])
      if (version.name === '1.6') expect(result).toEqual({ code: 0, stdout: 'by crun\n', stderr: '' })
      // Debian 12's crun does not know the version of the spec that newer clients write, and its word is passed on.
      else expect(withoutUnknown(result.stderr.trim())).toMatch(/OCI runtime create failed: unknown version specified$/)
    })

    test('--null-io, --pid-file, --privileged', async ({ run, pull, world }) => {
      const reference = await pull()
      expect(await run(['run', '--rm', '--null-io', reference, 'one', 'echo', 'unheard'])).toMatchObject({
        code: 0,
        stdout: '',
      })
      const pidFile = world.join('pid')
      await run(['run', '-d', '--pid-file', pidFile, '--privileged', reference, 'two', 'sleep', '100'])
      // Until it executes the program, it is still runc.
      const command = () => readFileSync(`/proc/${readFileSync(pidFile, 'utf8')}/cmdline`, 'utf8')
      await until('the process of the pid file to sleep', () => command() === 'sleep\u0000100\u0000')
    })

    test('--rootfs runs a directory of the host', async ({ run, pull, world }) => {
      await pull()
      mkdirSync(world.join('rootfs/bin'), { recursive: true })
      execFileSync('cp', ['/bin/busybox', world.join('rootfs/bin/sh')])
      const args = ['run', '--rm', '--rootfs', world.join('rootfs'), 'one', '/bin/sh', '-c', 'echo rooted']
      expect(await run(args)).toEqual({ code: 0, stdout: 'rooted\n', stderr: '' })
    })

    if (since17)
      test('--user by name, --hostname', async ({ ctr, pull }) => {
        const args = ['--user', 'nobody', '--hostname', 'sailor']
        expect(await ctr('run', '--rm', ...args, await pull(), 'one', 'sh', '-c', 'id -u; hostname')).toBe(
          '65534\nsailor\n',
        )
      })

    test('images, programs, runtimes and snapshotters that are not there', async ({ ctr, refused, pull }) => {
      const reference = await pull()
      const refusal = async (...args: string[]) => withoutUnknown(lastLine(await refused('run', '--rm', ...args)))
      expect(await refusal('nothere', 'one', 'true')).toBe('ctr: image "nothere": not found')
      expect(await refusal('--snapshotter', 'nosuch', reference, 'one', 'true')).toBe(
        'ctr: snapshotter not loaded: nosuch: invalid argument',
      )
      expect(await refusal('--runtime', 'io.containerd.nosuch.v1', reference, 'one', 'true')).toMatch(
        /^ctr: .*runtime "io\.containerd\.nosuch\.v1" binary not installed "containerd-shim-nosuch-v1"/,
      )
      expect(await refusal(reference, 'one', 'nosuchprogram')).toMatch(
        /^ctr: failed to create shim task: OCI runtime create failed: .*exec: "nosuchprogram": executable file not found/,
      )
      expect(await ctr('containers', 'ls', '-q')).toBe('')
      expect(await ctr('tasks', 'ls', '-q')).toBe('')
    })
  },
  { shared: true },
)
