import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { lsetxattr, mkfifo, mountAll, unmountAll, utimens } from '@flotilla/linux'
import type { Compression } from '@flotilla/oci/compression'
import { generateTree, type TempWorld, tarOf, tempWorld } from '@flotilla/testing'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { describeTree } from './describe-tree.ts'
import { type CompareRequest, createLayerPool } from './index.ts'

const pool = createLayerPool({ workers: 1 })
afterAll(() => pool[Symbol.asyncDispose]())

let world: TempWorld
let count = 0
beforeEach(async () => {
  world = await tempWorld({ tmpfs: true, name: 'layers' })
  for (const name of ['lower', 'upper', 'work', 'merged', 'again']) mkdirSync(world.join(name))
})
afterEach(() => world[Symbol.asyncDispose]())

const second = (seconds: number) => ({ atime: 0n, mtime: { seconds, nanos: 0 } })

async function unpack(path: string, root: string): Promise<void> {
  await pool.apply({ source: { from: { path }, compression: 'detect' }, target: { kind: 'plain', root } })
}

async function compare(request: Partial<CompareRequest> = {}) {
  const outputPath = world.join(`layer-${++count}.tar`)
  const [lower, upper] = [world.join('lower'), world.join('upper')]
  const result = await pool.compare({ lower, upper, form: 'whole', compression: 'none', outputPath, ...request })
  if (result === undefined) throw new Error('not compared')
  return { ...result, path: outputPath }
}

/** What GNU tar reads in the layer, one line a member. */
function list(path: string): string[] {
  const args = ['--numeric-owner', '--full-time', '-tvf', path]
  return execFileSync('tar', args, { encoding: 'utf8', env: { TZ: 'UTC' } })
    .split('\n')
    .slice(0, -1)
}

function names(path: string): string[] {
  return execFileSync('tar', ['-tf', path], { encoding: 'utf8' }).split('\n').slice(0, -1)
}

function copyTree(from: string, to: string): void {
  execFileSync('cp', ['-a', `${world.join(from)}/.`, world.join(to)])
}

describe('compare', () => {
  it('of equal trees is an empty tar', async () => {
    writeFileSync(world.join('lower/f'), 'x')
    copyTree('lower', 'upper')
    const { path, size } = await compare()
    expect(size).toBe(1024)
    expect(readFileSync(path).every((byte) => byte === 0)).toBe(true)
  })

  it('of nothing and a tree has everything, ordered with / before other bytes', async () => {
    rmSync(world.join('lower'), { recursive: true })
    mkdirSync(world.join('lower'))
    for (const name of ['a', 'a/z', 'b']) mkdirSync(world.join('upper', name))
    for (const name of ['a.c', 'a/x', 'a/z/y', 'a-b']) writeFileSync(world.join('upper', name), '')
    expect(names((await compare()).path)).toEqual(['a/', 'a/x', 'a/z/', 'a/z/y', 'a-b', 'a.c', 'b/'])
  })

  it('writes removed trees by their top, changed entries with their directories, once', async () => {
    mkdirSync(world.join('lower/dir/sub'), { recursive: true })
    for (const name of ['dir/sub/x', 'dir/same', 'dir/changed', 'gone']) writeFileSync(world.join('lower', name), name)
    copyTree('lower', 'upper')
    rmSync(world.join('upper/dir/sub'), { recursive: true })
    unlinkSync(world.join('upper/gone'))
    appendFileSync(world.join('upper/dir/changed'), '!')
    utimens(world.join('upper/dir/changed'), second(1_600_000_000))
    utimens(world.join('upper/dir'), second(1_500_000_000))
    const { path } = await compare()
    expect(list(path)).toEqual([
      'drwxr-xr-x 0/0               0 2017-07-14 02:40:00 dir/',
      '-rw-r--r-- 0/0              12 2020-09-13 12:26:40 dir/changed',
      '---------- 0/0               0 1970-01-01 00:00:00 dir/.wh.sub',
      '---------- 0/0               0 1970-01-01 00:00:00 .wh.gone',
    ])
  })

  it('takes a directory that became a file, and back, without whiteouts', async () => {
    mkdirSync(world.join('lower/d/sub'), { recursive: true })
    writeFileSync(world.join('lower/f'), '')
    writeFileSync(world.join('upper/d'), '')
    mkdirSync(world.join('upper/f'))
    writeFileSync(world.join('upper/f/x'), '')
    expect(names((await compare()).path)).toEqual(['d', 'f/', 'f/x'])
  })

  it('looks at content only where both times have no nanoseconds', async () => {
    for (const [name, nanos] of [
      ['whole', 0],
      ['fine', 1],
    ] as const) {
      for (const side of ['lower', 'upper']) {
        writeFileSync(world.join(side, name), side)
        utimens(world.join(side, name), { atime: 0n, mtime: { seconds: 1_600_000_000, nanos } })
      }
    }
    for (const side of ['lower', 'upper']) {
      symlinkSync(side, world.join(side, 'link'))
      utimens(world.join(side, 'link'), second(5))
    }
    expect(names((await compare()).path)).toEqual(['link', 'whole'])
  })

  it('sees mode, owner and capability, and no other attribute', async () => {
    for (const name of ['mode', 'owner', 'capability', 'attribute', 'dir']) {
      if (name === 'dir') mkdirSync(world.join('lower', name))
      else writeFileSync(world.join('lower', name), '')
    }
    copyTree('lower', 'upper')
    chmodSync(world.join('upper/mode'), 0o4755)
    execFileSync('chown', ['-h', '70000:3000000', world.join('upper/owner')])
    const capability = Buffer.from('0100000200ff800000000000000000000000ff00', 'hex')
    lsetxattr(world.join('upper/capability'), 'security.capability', capability)
    lsetxattr(world.join('upper/attribute'), 'trusted.x', Buffer.from('x'))
    chmodSync(world.join('upper/dir'), 0o1777)
    const { path } = await compare()
    expect(names(path)).toEqual(['capability', 'dir/', 'mode', 'owner'])
    await unpack(path, world.join('again'))
    expect(describeTree(world.join('again')).capability).toContain(`security.capability=${capability.toString('hex')}`)
    expect(list(path)[3]).toContain('70000/3000000')
  })

  it('links names of one inode, also unchanged ones, and leaves sockets out', async () => {
    writeFileSync(world.join('upper/b'), 'same')
    utimens(world.join('upper/b'), second(1_600_000_000))
    linkSync(world.join('upper/b'), world.join('upper/a'))
    linkSync(world.join('upper/b'), world.join('upper/c'))
    writeFileSync(world.join('lower/a'), 'same')
    utimens(world.join('lower/a'), second(1_600_000_000))
    const server = createServer().listen(world.join('upper/socket'))
    world.cleanup(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const { path } = await compare()
    expect(list(path).map((line) => line.replace(/^.*:\d\d:\d\d /, ''))).toEqual(['b', 'a link to b', 'c link to b'])
  })

  it('caps times at the given one', async () => {
    writeFileSync(world.join('upper/new'), '')
    writeFileSync(world.join('upper/old'), '')
    utimens(world.join('upper/old'), { atime: 0n, mtime: 999_999_999_999n })
    const { path } = await compare({ sourceDateEpoch: 1000 })
    expect(list(path).map((line) => /\d+-\d+-\d+ [\d:]+/.exec(line)?.[0])).toEqual([
      '1970-01-01 00:16:40',
      '1970-01-01 00:16:39',
    ])
  })

  it.each<[Compression, (bytes: Buffer) => Buffer]>([
    ['gzip', gunzipSync],
    ['zstd', zstdDecompressSync],
  ])('compresses with %s and names both digests', async (compression, decompress) => {
    writeFileSync(world.join('upper/zeros'), Buffer.alloc(3_000_001))
    mkfifo(world.join('upper/fifo'))
    const { path, digest, size, uncompressedDigest, uncompressedSize } = await compare({ compression })
    const bytes = readFileSync(path)
    const tar = decompress(bytes)
    expect(size).toBe(bytes.length)
    expect(uncompressedSize).toBe(tar.length)
    expect(digest).toBe(`sha256:${createHash('sha256').update(bytes).digest('hex')}`)
    expect(uncompressedDigest).toBe(`sha256:${createHash('sha256').update(tar).digest('hex')}`)
    expect(size).toBeLessThan(100_000)
  })

  it('gives the same bytes for the same trees', async () => {
    writeFileSync(world.join('layer'), await tarOf(generateTree(7, { devices: true })))
    await unpack(world.join('layer'), world.join('upper'))
    const first = await compare({ compression: 'gzip' })
    expect(await compare({ compression: 'gzip' })).toEqual({ ...first, path: expect.any(String) })
  })

  it('fails without a target that it could write, and leaves no half layer behind a lower that is absent', async () => {
    await expect(compare({ lower: world.join('absent') })).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(compare({ outputPath: world.join('absent/x') })).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

/** Changes a tree in every way at once. */
function change(root: string): void {
  const first = (kind: string, nth = 1) =>
    execFileSync('find', ['.', '-mindepth', '1', '-type', kind], { cwd: root, encoding: 'utf8' }).split('\n').sort()[
      nth
    ] ?? ''
  mkdirSync(`${root}/brand/new`, { recursive: true })
  writeFileSync(`${root}/brand/new/file`, 'new')
  symlinkSync('file', `${root}/brand/new/link`)
  linkSync(`${root}/brand/new/file`, `${root}/brand/second`)
  mkfifo(`${root}/brand/fifo`)
  chmodSync(`${root}/keep/mode`, 0o600)
  appendFileSync(`${root}/keep/grown`, 'more')
  rmSync(`${root}/keep/tree`, { recursive: true })
  rmSync(`${root}/keep/opaque`, { recursive: true })
  mkdirSync(`${root}/keep/opaque`)
  writeFileSync(`${root}/keep/opaque/new`, '')
  rmSync(`${root}/keep/replaced`, { recursive: true })
  writeFileSync(`${root}/keep/replaced`, 'file now')
  unlinkSync(`${root}/keep/turned`)
  mkdirSync(`${root}/keep/turned/deep`, { recursive: true })
  renameSync(`${root}/keep/name`, `${root}/keep/renamed`)
  const fifo = first('p', 1)
  if (fifo !== '') unlinkSync(`${root}/${fifo}`)
  execFileSync('chown', ['-R', '9:10', `${root}/keep/owned`])
}

function addKept(root: string): void {
  for (const name of ['tree/a', 'opaque/sub', 'replaced/sub', 'owned/x/y'])
    mkdirSync(`${root}/keep/${name}`, { recursive: true })
  for (const name of [
    'mode',
    'grown',
    'turned',
    'name',
    'tree/a/f',
    'opaque/old',
    'opaque/sub/f',
    'replaced/f',
    'owned/x/f',
    'same',
  ]) {
    writeFileSync(`${root}/keep/${name}`, name)
  }
}

// Directories' times are not compared by the layer format, and only capabilities of the attributes.
const alike = { seconds: true, xattrs: ['security.capability'] }

describe('a layer applied, changed, compared and applied again', () => {
  it.each([1, 2, 3, 4, 5])('gives the same tree (seed %i)', async (seed) => {
    writeFileSync(world.join('layer'), await tarOf(generateTree(seed, { entries: 150, devices: true })))
    await unpack(world.join('layer'), world.join('lower'))
    addKept(world.join('lower'))
    copyTree('lower', 'upper')
    copyTree('lower', 'again')
    change(world.join('upper'))
    const layer = await compare({ compression: seed % 2 === 0 ? 'zstd' : 'gzip' })
    await unpack(layer.path, world.join('again'))
    expect(describeTree(world.join('again'), alike)).toEqual(describeTree(world.join('upper'), alike))
    // A second application of the layer differs in nothing that a comparison sees.
    mkdirSync(world.join('twice'))
    copyTree('lower', 'twice')
    await unpack(layer.path, world.join('twice'))
    expect((await compare({ lower: world.join('again'), upper: world.join('twice') })).size).toBe(1024)
    // From nothing: the whole tree.
    mkdirSync(world.join('empty'))
    mkdirSync(world.join('fresh'))
    const whole = await compare({ lower: world.join('empty') })
    await unpack(whole.path, world.join('fresh'))
    expect(describeTree(world.join('fresh'), alike)).toEqual(describeTree(world.join('upper'), alike))
  })

  it.each([11, 12, 13])(
    'over a real overlay, mounted or read by its upper directory, is one layer (seed %i)',
    async (seed) => {
      writeFileSync(world.join('layer'), await tarOf(generateTree(seed, { entries: 100, devices: true })))
      await unpack(world.join('layer'), world.join('lower'))
      addKept(world.join('lower'))
      const [upper, work, merged] = [world.join('upper'), world.join('work'), world.join('merged')]
      const options = [`workdir=${work}`, `upperdir=${upper}`, `lowerdir=${world.join('lower')}`]
      await mountAll([{ type: 'overlay', source: 'overlay', target: '', options }], merged)
      change(merged)
      const mounted = await compare({ upper: merged })
      const direct = await compare({ form: 'overlay' })
      expect(list(direct.path)).toEqual(list(mounted.path))
      expect(direct.digest).toBe(mounted.digest)
      expect(names(direct.path)).toContain('keep/opaque/.wh.old')
      copyTree('lower', 'again')
      await unpack(direct.path, world.join('again'))
      expect(describeTree(world.join('again'), alike)).toEqual(describeTree(merged, alike))
      // And into a second overlay's upper directory, without mounting it.
      await unmountAll(merged)
      for (const name of ['upper2', 'work2']) mkdirSync(world.join(name))
      const target = { kind: 'overlay', upper: world.join('upper2'), lowers: [world.join('lower')] } as const
      await pool.apply({ source: { from: { path: direct.path }, compression: 'detect' }, target })
      const again = [
        `workdir=${world.join('work2')}`,
        `upperdir=${world.join('upper2')}`,
        `lowerdir=${world.join('lower')}`,
      ]
      await mountAll([{ type: 'overlay', source: 'overlay', target: '', options: again }], merged)
      expect(describeTree(merged, alike)).toEqual(describeTree(world.join('again'), alike))
    },
  )

  it('believes only the attributes of its own kind of overlay', async () => {
    for (const name of ['lower/d', 'upper/d']) mkdirSync(world.join(name))
    writeFileSync(world.join('lower/d/kept'), '')
    lsetxattr(world.join('upper/d'), 'user.overlay.opaque', Buffer.from('y'))
    expect((await compare({ form: 'overlay' })).size).toBe(1024)
    expect(names((await compare({ form: 'overlay-userxattr' })).path)).toEqual(['d/', 'd/.wh.kept'])
  })

  it('refuses an upper directory that is not whole by itself, before it writes anything', async () => {
    mkdirSync(world.join('upper/d/moved'), { recursive: true })
    lsetxattr(world.join('upper/d/moved'), 'trusted.overlay.redirect', Buffer.from('/other'))
    const outputPath = world.join('layer')
    const [lower, upper] = [world.join('lower'), world.join('upper')]
    expect(await pool.compare({ lower, upper, form: 'overlay', compression: 'none', outputPath })).toBeUndefined()
    expect(existsSync(outputPath)).toBe(false)
    expect(statSync(upper).isDirectory()).toBe(true)
  })
})
