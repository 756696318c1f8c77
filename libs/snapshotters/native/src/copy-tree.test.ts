import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { lsetxattr, mountAll } from '@flotilla/linux'
import { generateTree, type TempWorld, tarOf, tempWorld } from '@flotilla/testing'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { copyTree } from './copy-tree.ts'

// Others may keep the machine busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const signal = new AbortController().signal
let world: TempWorld
let from: string
let to: string

// ext4 or whatever /tmp is, and tmpfs: they differ in times, holes and attributes.
describe.each([{ tmpfs: false }, { tmpfs: true }])('copying a tree, tmpfs: $tmpfs', ({ tmpfs }) => {
  beforeEach(async () => {
    world = await tempWorld({ name: 'copy', tmpfs })
    ;[from, to] = [world.join('from'), world.join('to')]
    mkdirSync(from)
    mkdirSync(to)
  })
  afterEach(() => world[Symbol.asyncDispose]())

  /** Everything that GNU tar can say about a tree, as one number. Its pax headers hold nanoseconds, links, attributes. */
  const digest = (tree: string) => {
    const options = ['--xattrs', '--xattrs-include=*', '--format=pax', '--sort=name', '--numeric-owner']
    const pax = '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime'
    const tar = execFileSync('tar', ['-C', tree, ...options, pax, '-c', '.'], { maxBuffer: 1 << 30 })
    return createHash('sha256').update(tar).digest('hex')
  }

  test.each([1, 2, 3, 4])('generated tree %i is equal to its copy', async (seed) => {
    const tar = await tarOf(generateTree(seed, { entries: 300, devices: true }))
    execFileSync('tar', ['-x', '-p', '--xattrs', '--xattrs-include=*', '-C', from], { input: tar })
    lsetxattr(from, 'trusted.root', Buffer.from('attribute of the root'))
    await copyTree(from, to, signal)
    expect(digest(to)).toBe(digest(from))
  })

  test('holes stay holes, and the data between them is the same', async () => {
    const file = openSync(`${from}/sparse`, 'w')
    const size = 50 * (1 << 20)
    for (const at of [0, 5_000_000, 20_000_001, size - 4096]) writeSync(file, Buffer.alloc(4096, `${at}`), 0, 4096, at)
    closeSync(file)
    writeFileSync(`${from}/hole`, '')
    truncateSync(`${from}/hole`, 1 << 30)
    await copyTree(from, to, signal)
    expect(readFileSync(`${to}/sparse`).equals(readFileSync(`${from}/sparse`))).toBe(true)
    expect(statSync(`${to}/sparse`).blocks).toBeLessThanOrEqual(statSync(`${from}/sparse`).blocks)
    expect(statSync(`${to}/hole`)).toMatchObject({ size: 1 << 30, blocks: statSync(`${from}/hole`).blocks })
  })

  test('large files and times of directories are the same', async () => {
    mkdirSync(`${from}/d`)
    writeFileSync(`${from}/d/large`, Buffer.alloc(3_000_001, 'abc'))
    utimesSync(`${from}/d`, 1_000_000_000.25, 1_000_000_001.5)
    utimesSync(from, 1_000_000_002, 1_000_000_003)
    await copyTree(from, to, signal)
    expect(readFileSync(`${to}/d/large`).equals(readFileSync(`${from}/d/large`))).toBe(true)
    expect([statSync(`${to}/d`).mtimeMs, statSync(to).mtimeMs]).toEqual([1_000_000_001_500, 1_000_000_003_000])
  })

  test('what is mounted in the tree is left out', async () => {
    mkdirSync(`${from}/mounted`)
    await mountAll([{ type: 'tmpfs', source: 'tmpfs', target: '', options: ['size=1m'] }], `${from}/mounted`)
    writeFileSync(`${from}/mounted/f`, '')
    writeFileSync(`${from}/f`, '')
    await copyTree(from, to, signal)
    expect([existsSync(`${to}/f`), existsSync(`${to}/mounted/f`)]).toEqual([true, false])
  })

  test('names deeper than a path may be long are copied', async () => {
    const name = 'd'.repeat(200)
    const script = 'for i in $(seq 40); do mkdir "$1" && cd -P "./$1" || exit 1; done; echo deep > f'
    execFileSync('bash', ['-c', script, 'bash', name], { cwd: from })
    world.cleanup(() => void execFileSync('rm', ['-rf', from, to]))
    await copyTree(from, to, signal)
    const look = 'for i in $(seq 40); do cd -P "./$1" || exit 1; done; cat f'
    expect(execFileSync('bash', ['-c', look, 'bash', name], { cwd: to, encoding: 'utf8' })).toBe('deep\n')
  })

  test('a tree that is not there is an error', async () => {
    rmdirSync(from)
    await expect(copyTree(from, to, signal)).rejects.toThrow('the parent changed')
  })
})

test('a directory that another process swaps for a link never leads the copy outside', async () => {
  await using world = await tempWorld({ name: 'swap', tmpfs: true })
  for (const name of ['outside', 'from', 'from/dir']) mkdirSync(world.join(name))
  writeFileSync(world.join('outside/f'), 'secret')
  writeFileSync(world.join('from/dir/f'), 'mine')
  symlinkSync('../outside', world.join('from/link'))
  const swap = `
    import { renameSync } from 'node:fs'
    console.log('swapping')
    for (;;) {
      renameSync('dir', 'hidden')
      renameSync('link', 'dir')
      renameSync('dir', 'link')
      renameSync('hidden', 'dir')
    }`
  const swapper = spawn(process.execPath, ['--input-type=module', '-e', swap], { cwd: world.join('from') })
  const gone = once(swapper, 'close')
  await once(swapper.stdout, 'data')
  try {
    for (let round = 0; round < 3_000; round++) {
      const copy = world.join(`copy-${round}`)
      mkdirSync(copy)
      await copyTree(world.join('from'), copy, signal).catch((error) =>
        expect(error.message).toMatch(/the parent changed/),
      )
      for (const path of ['dir', 'hidden', 'link'].map((name) => `${copy}/${name}`)) {
        // A link that was copied as a link is the link's own content, not what it points to.
        if (!existsSync(path) || lstatSync(path).isSymbolicLink() || !existsSync(`${path}/f`)) continue
        expect(readFileSync(`${path}/f`, 'utf8')).toBe('mine')
      }
    }
    expect(swapper.exitCode).toBeNull()
  } finally {
    swapper.kill('SIGKILL')
    await gone
  }
})
