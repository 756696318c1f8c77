import { execFileSync } from 'node:child_process'
import { linkSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { mountAll } from '@flotilla/linux'
import { status } from '@flotilla/rpc'
import { tempWorld } from '@flotilla/testing'
import { expect, test, vi } from 'vitest'
import { diskUsage } from './disk-usage.ts'

// Others may keep the machine busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const signal = new AbortController().signal

test('it is what du says', async () => {
  await using world = await tempWorld({ name: 'usage', tmpfs: true })
  for (let index = 0; index < 300; index++) {
    mkdirSync(world.join('tree', String(index % 7), String(index)), { recursive: true })
    writeFileSync(world.join('tree', String(index % 7), String(index), 'f'), Buffer.alloc(index * 100, 'x'))
  }
  linkSync(world.join('tree/0/0/f'), world.join('tree/linked'))
  writeFileSync(world.join('tree/sparse'), 'x')
  truncateSync(world.join('tree/sparse'), 10_000_000)
  const du = (...args: string[]) =>
    Number(execFileSync('du', [...args, world.join('tree')], { encoding: 'utf8' }).split('\t')[0])
  expect(await diskUsage(world.join('tree'), signal)).toEqual({
    size: du('-s', '--block-size=1'),
    inodes: du('-s', '--inodes'),
  })
})

test('what is mounted inside is not counted', async () => {
  await using world = await tempWorld({ name: 'usage', tmpfs: true })
  mkdirSync(world.join('tree/mounted'), { recursive: true })
  const before = await diskUsage(world.join('tree'), signal)
  await mountAll([{ type: 'tmpfs', source: 'tmpfs', target: '', options: [] }], world.join('tree/mounted'))
  writeFileSync(world.join('tree/mounted/f'), Buffer.alloc(100_000))
  expect((await diskUsage(world.join('tree'), signal)).inodes).toBe(before.inodes - 1)
})

test('names deeper than a path may be long are counted', async () => {
  await using world = await tempWorld({ name: 'usage', tmpfs: true })
  const name = 'd'.repeat(200)
  const script = 'for i in $(seq 40); do mkdir "$1" && cd -P "./$1" || exit 1; done'
  execFileSync('bash', ['-c', script, 'bash', name], { cwd: world.path })
  world.cleanup(() => void execFileSync('rm', ['-rf', world.join(name)]))
  expect((await diskUsage(world.path, signal)).inodes).toBe(41)
})

test('an abort ends it; a tree that is not there is NOT_FOUND', async () => {
  await using world = await tempWorld({ name: 'usage', tmpfs: true })
  for (let index = 0; index < 20_000; index++) writeFileSync(world.join(String(index)), '')
  const cancel = new AbortController()
  const answer = diskUsage(world.path, cancel.signal)
  cancel.abort(new Error('enough'))
  await expect(answer).rejects.toThrow('enough')
  await expect(diskUsage(world.join('none'), signal)).rejects.toMatchObject({ code: status.NOT_FOUND })
})
