import { spawn } from 'node:child_process'
import { createReadStream, createWriteStream, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { Status } from '@flotilla/api/containerd/v1/types/types'
import { hasCode, makeCall, status } from '@flotilla/rpc'
import { buildImage, until } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { printing } from '../harness/printing.ts'
import { type Cluster, namespace, startCluster } from './cluster.ts'

describe('tasks of three nodes', () => {
  let cluster: Cluster
  let reference: string
  beforeAll(async () => {
    cluster = await startCluster()
    reference = cluster.registry.add('library/box:1', await buildImage({ index: true }))
    await cluster.ctr('b', 'images', 'pull', '--plain-http', reference)
    await cluster.ctr('b', 'run', '-d', reference, 'on-b', 'sleep', '100000')
  })
  afterAll(() => cluster[Symbol.asyncDispose]())

  it('a task on b is listed, measured, entered, killed and removed from a', async () => {
    await cluster.ctr('b', 'run', '-d', reference, 'short', 'sleep', '100000')
    expect(await cluster.ctr('a', 'tasks', 'ls')).toMatch(/^short +\d+ +RUNNING$/m)
    expect(await cluster.ctr('a', 'tasks', 'metrics', 'short')).toContain('short')
    expect(await cluster.ctr('a', 'tasks', 'exec', '--exec-id', 'e1', 'short', ...printing('hello from afar'))).toBe(
      'hello from afar\n',
    )
    const failing = await cluster.run('a', [
      'tasks',
      'exec',
      '--exec-id',
      'e2',
      'short',
      'sh',
      '-c',
      'echo no >&2; exit 3',
    ])
    expect([failing.code, failing.stderr]).toEqual([3, expect.stringContaining('no\n')])
    await cluster.ctr('a', 'tasks', 'kill', '-s', 'KILL', 'short')
    await until('short to stop', async () => /short +\d+ +STOPPED/.test(await cluster.ctr('a', 'tasks', 'ls')))
    await cluster.ctr('a', 'tasks', 'rm', 'short')
    expect(await cluster.ctr('b', 'tasks', 'ls', '-q')).not.toContain('short')
    await cluster.ctr('a', 'containers', 'rm', 'short')
  })

  it('standard input reaches it, with all of its bytes and its end', async () => {
    const input = Buffer.alloc(3_000_000, 'flotilla ')
    const { code, stdout } = await cluster.run('a', ['tasks', 'exec', '--exec-id', 'wc', 'on-b', 'wc', '-c'], { input })
    expect([code, stdout.trim()]).toEqual([0, '3000000'])
  })

  it('much output comes whole', async () => {
    const script = 'i=0; while [ $i -lt 100 ]; do head -c 65536 /dev/zero | tr "\\0" x; i=$((i+1)); done'
    const { stdout } = await cluster.run('c', ['tasks', 'exec', '--exec-id', 'much', 'on-b', 'sh', '-c', script])
    expect(stdout.length).toBe(100 * 65_536)
  })

  it('a terminal works across nodes', async () => {
    const running = cluster.start('a', ['tasks', 'exec', '-t', '--exec-id', 'tty', 'on-b', 'sh'], { terminal: true })
    await running.prints(/[#$] /)
    // The client tells the size after the start.
    running.child.stdin.write('until [ "$(stty size)" = "24 80" ]; do :; done; echo $((40+2))\n')
    await running.prints(/^42\r?$/m)
    running.child.stdin.write('exit 5\n')
    expect((await running.result).code).toBe(5)
  })

  it('streams go on after the agent of the process was killed, with what was written meanwhile', async () => {
    const shell = cluster.start('a', ['tasks', 'exec', '--exec-id', 'through', 'on-b', 'sh'])
    shell.child.stdin.write('echo before; until [ -e /go ]; do sleep 0.1; done; echo meanwhile\n')
    await shell.prints(/^before$/m)
    await cluster.tell('kill', 'b')
    const [root] = [
      readFileSync(join(cluster.dir, 'b/state/io.containerd.runtime.v2.task', namespace, 'on-b/init.pid'), 'utf8'),
    ]
    writeFileSync(`/proc/${root}/root/go`, '')
    await cluster.tell('start', 'b')
    await shell.prints(/^meanwhile$/m)
    shell.child.stdin.write('echo after; exit 6\n')
    expect(await shell.result).toMatchObject({ code: 6, stdout: 'before\nmeanwhile\nafter\n' })
  })

  it('a process is attached to from a node that neither runs it nor started it', async () => {
    const script = 'while read line; do echo "got $line"; [ "$line" = end ] && exit 4; done'
    await cluster.ctr('b', 'run', '-d', reference, 'local', 'sh', '-c', script)
    const far = cluster.start('a', ['tasks', 'attach', 'local'])
    far.child.stdin.write('one\n')
    await far.prints(/^got one$/m)
    far.child.stdin.write('end\n')
    expect(await far.result).toMatchObject({ code: 4, stdout: 'got one\ngot end\n' })
    await cluster.ctr('a', 'tasks', 'rm', 'local').catch(() => '')
    await cluster.ctr('a', 'containers', 'rm', 'local')

    // Started from c, it runs on b: whoever attaches has the streams from then on.
    const started = cluster.start('c', ['tasks', 'exec', '--exec-id', 'lent', 'on-b', 'sh', '-c', script])
    started.child.stdin.write('first\n')
    await started.prints(/^got first$/m)
    const id = { containerId: 'on-b', execId: 'lent' }
    const tasks = cluster.client(TasksDefinition, 'a')
    const { process } = await tasks.get(id, makeCall({ namespace }))
    const [reader, writer] = [createReadStream(process?.stdout ?? ''), createWriteStream(process?.stdin ?? '')]
    let text = ''
    reader.setEncoding('utf8').on('data', (data) => {
      text += data
    })
    writer.write('second\nend\n')
    await until('the output to come to the new client', () => text === 'got second\ngot end\n')
    writer.destroy()
    reader.destroy()
    started.child.stdin.end()
    expect(await started.result).toMatchObject({ code: 4, stdout: 'got first\n' })
  })

  it('two nodes creating one container at once: one wins, the other is told that it exists', async () => {
    const results = await Promise.all(
      ['a', 'b', 'c'].map((node) => cluster.run(node, ['containers', 'create', reference, 'contested', 'true'])),
    )
    expect(results.filter(({ code }) => code === 0)).toHaveLength(1)
    for (const { stderr } of results.filter(({ code }) => code !== 0)) expect(stderr).toContain('already exists')
    await cluster.ctr('a', 'containers', 'rm', 'contested')
  })

  it('events of every node come to each, saying where they happened', async () => {
    const events = spawn('ctr', ['-a', cluster.node('c').socket, 'events'])
    let text = ''
    events.stdout.on('data', (data: Buffer) => {
      text += data.toString()
    })
    await until('events to come', async () => {
      await cluster.ctr('a', 'images', 'label', reference, `probe=${Math.random()}`)
      return text.includes('/images/update')
    })
    await cluster.ctr('a', 'run', '--rm', reference, 'eventful', 'true')
    await until('the exit to be told', () => /\/tasks\/exit .*eventful/.test(text))
    events.kill()
  })

  it('cut off, its tasks are unknown and calls fail within 3 s with its name; back again, all is as it was', async () => {
    const tasks = cluster.client(TasksDefinition, 'a')
    await cluster.tell('partition', 'b')
    try {
      const began = performance.now()
      const failure = await tasks
        .get({ containerId: 'on-b', execId: '' }, makeCall({ namespace, timeout: 20_000 }))
        .catch((error: unknown) => error)
      expect(hasCode(failure, status.UNAVAILABLE)).toBe(true)
      expect(String(failure)).toContain('node "b"')
      expect(performance.now() - began).toBeLessThan(3_000)
      await cluster.sees('a', 'b', false, 10_000)
      const listed = await tasks.list({ filter: '' }, makeCall({ namespace }))
      expect(listed.tasks.find(({ id }) => id === 'on-b')?.status).toBe(Status.UNKNOWN)
    } finally {
      await cluster.tell('heal', 'b')
    }
    await cluster.sees('a', 'b', true, 5_000)
    await until('on-b to run', async () => /on-b +\d+ +RUNNING/.test(await cluster.ctr('a', 'tasks', 'ls')))
  })

  it('a call that names no node goes where the parent snapshot is', async () => {
    // As at the cluster's endpoint: the node is named for one, and left open for the other.
    const at = (node?: string) => makeCall({ namespace, ...(node ? { metadata: { 'flotilla-node': node } } : {}) })
    const snapshots = cluster.client(SnapshotsDefinition, 'a')
    const common = { snapshotter: 'native', parent: '', labels: {} }
    await snapshots.prepare({ ...common, key: 'base-active' }, at('c'))
    await snapshots.commit({ snapshotter: 'native', name: 'base', key: 'base-active', labels: {}, parent: '' }, at('c'))
    const { info } = await snapshots.stat({ snapshotter: 'native', key: 'base' }, at('c'))
    expect(info?.labels['flotilla.io/node']).toBe('c')
    await snapshots.remove({ snapshotter: 'native', key: 'base' }, at('c'))
  })
})
