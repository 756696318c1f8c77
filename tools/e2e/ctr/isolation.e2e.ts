import { chmodSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '@flotilla/testing'
import { beforeAll, expect } from 'vitest'
import { suite } from '../harness/suite.ts'
import { programOf } from '../harness/versions.ts'

const maps = ['--uidmap', '0:100000:65536', '--gidmap', '0:200000:65536']

suite('isolation', ({ system, test, version }) => {
  // Root of a user namespace is nobody here, and the directories of a test are closed to those.
  beforeAll(() => chmodSync(dirname(system().root), 0o711))

  test('a container out of memory is told of by its id', async ({ ctr, run, start, pull, namespace }) => {
    const reference = await pull()
    const listening = start(['events'])
    const told = (topic: string) =>
      listening
        .output()
        .stdout.split('\n')
        .filter((line) => line.includes(` ${topic} `))
    try {
      // The subscription is open once an event of ours comes; there is no other sign.
      while (told('/namespaces/create').length === 0) {
        await run(['namespaces', 'create', `${namespace}.probe`])
        await run(['namespaces', 'rm', `${namespace}.probe`])
        await sleep(20)
      }
      // Its first process lives on: with it would go the control group that says so.
      const greedy =
        'until test -e /go; do sleep 0.1; done; dd if=/dev/zero of=/dev/null bs=200M count=1; echo $? >/status; exec sleep 1000'
      const begin = (id: string, limit: number, script: string) =>
        ctr('run', '--detach', '--memory-limit', String(limit), reference, id, 'sh', '-c', script)
      // One beside it that stays within its limit.
      await begin('modest', 64 << 20, 'exec sleep 1000')
      await begin('greedy', 32 << 20, greedy)
      // A shim watches the group once it has started the process: what is too much at once may be too early.
      await ctr('tasks', 'exec', '--exec-id', 'go', 'greedy', 'touch', '/go')
      await until('the event of it', () => told('/tasks/oom').length > 0)
      for (const line of told('/tasks/oom')) expect(line).toMatch(/ \/tasks\/oom \{"container_id":"greedy"\}$/)
      const status = ['tasks', 'exec', '--exec-id', 'look', 'greedy', 'cat', '/status']
      await until('the end of the one that took too much', async () => (await ctr(...status)).trim() === '137')
    } finally {
      listening.child.kill('SIGKILL')
      await listening.result
    }
  })

  const look =
    'cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; stat -c %u:%g /etc/motd; touch /n; stat -c %u:%g /n'
  const seen = ['0 100000 65536', '0 200000 65536', '0', '0', '0:0', '0:0']
  const lines = (text: string) =>
    text
      .trim()
      .split('\n')
      .map((line) => line.trim().replace(/\s+/g, ' '))

  test('in a user namespace root is somebody else outside, and its files are its own', async ({ ctr, pull }) => {
    const reference = await pull()
    expect(lines(await ctr('run', '--rm', ...maps, reference, 'mapped', 'sh', '-c', look))).toEqual(seen)
    // Another one of the same image is as it was.
    expect(lines(await ctr('run', '--rm', reference, 'plain', 'stat', '-c', '%u:%g', '/etc/motd'))).toEqual(['0:0'])
  })

  // Older clients and shims do not know such mounts, whatever the daemon is.
  if (version.name === '2.1')
    test('the same with ids mapped by the snapshotter', async ({ ctr, pull }) => {
      const reference = await pull()
      const runtime = ['--runtime', programOf(version, 'containerd-shim-runc-v2')]
      const run = ['run', '--rm', '--remap-labels', ...runtime, ...maps, reference, 'mapped', 'sh', '-c', look]
      expect(lines(await ctr(...run))).toEqual(seen)
    })
})
