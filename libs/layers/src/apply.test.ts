import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { lgetxattr, lsetxattr, lstatx, mountAll, utimens } from '@flotilla/linux'
import { type LayerEntry, type TempWorld, tarOf, tempWorld } from '@flotilla/testing'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { describeTree } from './describe-tree.ts'
import { createLayerPool, type LayerTarget } from './index.ts'

const pool = createLayerPool({ workers: 1 })
afterAll(() => pool[Symbol.asyncDispose]())

let world: TempWorld
beforeEach(async () => {
  world = await tempWorld({ tmpfs: true, name: 'layers' })
  for (const name of ['lower', 'lowest', 'upper', 'work', 'merged', 'root']) mkdirSync(world.join(name))
})
afterEach(() => world[Symbol.asyncDispose]())

const file = (name: string, content = name): LayerEntry => ({ name, content, mode: 0o644 })
const directory = (name: string, mode = 0o755): LayerEntry => ({ name: `${name}/`, type: 'directory', mode })
const whiteout = (name: string): LayerEntry => ({ name, content: '', mode: 0 })

async function apply(target: LayerTarget, entries: LayerEntry[]): Promise<void> {
  const path = world.join('layer.tar')
  writeFileSync(path, await tarOf(entries))
  await pool.apply({ source: { from: { path }, compression: 'detect' }, target })
}

const plain = (): LayerTarget => ({ kind: 'plain', root: world.join('root') })
const overlay = (): LayerTarget => ({
  kind: 'overlay',
  upper: world.join('upper'),
  lowers: [world.join('lower'), world.join('lowest')],
})

async function mountOverlay(): Promise<string> {
  const options = [
    `workdir=${world.join('work')}`,
    `upperdir=${world.join('upper')}`,
    `lowerdir=${world.join('lower')}:${world.join('lowest')}`,
  ]
  await mountAll([{ type: 'overlay', source: 'overlay', target: '', options }], world.join('merged'))
  return world.join('merged')
}

describe.each(['plain', 'overlay'] as const)('in %s mode', (kind) => {
  const target = () => (kind === 'plain' ? plain() : overlay())
  const root = () => world.join(kind === 'plain' ? 'root' : 'upper')
  const apply2 = (entries: LayerEntry[]) => apply(target(), entries)

  it('replaces what is in the way, but keeps a directory under a directory', async () => {
    await apply2([directory('d', 0o700), file('d/kept'), directory('gone'), file('gone/x'), file('f'), directory('d2')])
    await apply2([directory('d', 0o750), file('gone', 'now a file'), directory('f'), file('d2', 'file too')])
    expect(Object.keys(describeTree(root()))).toEqual(['d', 'd/kept', 'd2', 'f', 'gone'])
    expect(lstatSync(`${root()}/d`).mode & 0o7777).toBe(0o750)
    expect(lstatSync(`${root()}/f`).isDirectory()).toBe(true)
  })

  it('keeps setuid, owner, nanoseconds, and the later of both times as access time', async () => {
    const pax = { mtime: '1600000000.000000001', atime: '1700000000.5' }
    await apply2([{ name: 'f', content: '', mode: 0o6755, uid: 1234, gid: 99999, pax }])
    const stat = lstatSync(`${root()}/f`, { bigint: true })
    expect(stat).toMatchObject({ uid: 1234n, gid: 99999n, mtimeNs: 1_600_000_000_000_000_001n })
    expect(stat.atimeNs).toBe(1_700_000_000_500_000_000n)
    expect(stat.mode & 0o7777n).toBe(0o6755n)
  })

  it('turns times that nanoseconds cannot hold into 1970', async () => {
    await apply2([
      { ...file('before'), pax: { mtime: '-1.5' } },
      { ...file('after'), pax: { mtime: '9300000000' } },
    ])
    for (const name of ['before', 'after']) expect(lstatSync(`${root()}/${name}`, { bigint: true }).mtimeNs).toBe(0n)
  })

  it('sets times of directories after everything in them is written', async () => {
    await apply2([{ ...directory('d'), mtime: new Date(1000) }, file('d/late'), directory('d/sub')])
    expect(lstatSync(`${root()}/d`).mtimeMs).toBe(1000)
  })

  it('makes missing parents', async () => {
    await apply2([file('a/b/c/f')])
    expect(lstatSync(`${root()}/a/b/c`).mode & 0o7777).toBe(0o755)
    expect(readFileSync(`${root()}/a/b/c/f`, 'utf8')).toBe('a/b/c/f')
  })

  it('refuses a parent that is no directory', async () => {
    await expect(apply2([file('f'), file('f/below')])).rejects.toMatchObject({ code: 'ENOTDIR' })
  })

  it('makes device nodes, FIFOs and links to links', async () => {
    await apply2([
      { name: 'null', type: 'character-device', devmajor: 1, devminor: 3, mode: 0o666 },
      { name: 'disk', type: 'block-device', devmajor: 259, devminor: 70000, mode: 0o660 },
      { name: 'pipe', type: 'fifo', mode: 0o600 },
      { name: 'sym', type: 'symlink', linkname: 'nowhere' },
      { name: 'hard', type: 'link', linkname: 'sym' },
    ])
    expect(lstatx(`${root()}/null`)).toMatchObject({ rdevMajor: 1, rdevMinor: 3, mode: 0o020666 })
    expect(lstatx(`${root()}/disk`)).toMatchObject({ rdevMajor: 259, rdevMinor: 70000 })
    expect(lstatSync(`${root()}/pipe`).isFIFO()).toBe(true)
    expect(lstatSync(`${root()}/hard`).ino).toBe(lstatSync(`${root()}/sym`).ino)
  })

  it('sets extended attributes but never trusted ones, and skips what a file type cannot have', async () => {
    const pax = { 'SCHILY.xattr.trusted.overlay.opaque': 'y', 'SCHILY.xattr.user.text': 'value' }
    await apply2([
      { ...directory('d'), pax },
      { name: 'l', type: 'symlink', linkname: 'x', pax: { ...pax } },
    ])
    expect(lgetxattr(`${root()}/d`, 'trusted.overlay.opaque')).toBeUndefined()
    expect(lstatSync(`${root()}/l`).isSymbolicLink()).toBe(true)
  })

  it('resolves symlinks in parents inside the root', async () => {
    mkdirSync(world.join('outside'))
    await apply2([
      directory('real'),
      { name: 'up', type: 'symlink', linkname: '../../../../real' },
      { name: 'abs', type: 'symlink', linkname: '/real' },
      { name: 'out', type: 'symlink', linkname: world.join('outside') },
      file('up/one'),
      file('abs/two'),
      file('out/three'),
      { name: 'hard', type: 'link', linkname: '/abs/two' },
    ])
    expect(readdirSync(`${root()}/real`).sort()).toEqual(['one', 'two'])
    expect(readdirSync(world.join('outside'))).toEqual([])
    expect(existsSync(`${root()}${world.join('outside')}/three`)).toBe(true)
    expect(lstatSync(`${root()}/hard`).nlink).toBe(2)
  })

  it('follows a directory that becomes a symlink within the layer', async () => {
    mkdirSync(world.join('outside'))
    await apply2([
      directory('a'),
      file('a/one'),
      { name: 'a', type: 'symlink', linkname: world.join('outside') },
      file('a/two'),
      { name: 'a', type: 'symlink', linkname: 'b' },
      file('a/three'),
    ])
    expect(readdirSync(world.join('outside'))).toEqual([])
    expect(readdirSync(`${root()}/b`)).toEqual(['three'])
  })

  it.each([
    ['.wh.', 'invalid whiteout name'],
    ['d/.wh..', 'invalid whiteout name'],
    ['d/.wh...', 'invalid whiteout name'],
  ])('refuses the whiteout %s', async (name, message) => {
    await expect(apply2([directory('d'), whiteout(name)])).rejects.toThrow(message)
    expect(existsSync(`${root()}/d`)).toBe(true)
  })

  it('ignores the root itself', async () => {
    await apply2([directory('.', 0o700), directory('..', 0o700), file('f')])
    expect(Object.keys(describeTree(root()))).toEqual(['f'])
    expect(lstatSync(root()).mode & 0o7777).toBe(0o755)
  })
})

describe('whiteouts in a plain tree', () => {
  it('remove names, whole trees too, and what does not exist silently', async () => {
    await apply(plain(), [
      directory('d'),
      file('d/x'),
      file('f'),
      file('kept'),
      { name: 'l', type: 'symlink', linkname: 'kept' },
    ])
    await apply(plain(), [whiteout('.wh.d'), whiteout('.wh.f'), whiteout('.wh.l'), whiteout('.wh.absent')])
    expect(Object.keys(describeTree(world.join('root')))).toEqual(['kept'])
  })

  it('of a directory remove what this layer did not write, wherever the marker stands', async () => {
    await apply(plain(), [directory('d'), file('d/old'), directory('d/sub'), file('d/sub/old'), file('d/both', 'old')])
    await apply(plain(), [
      directory('d'),
      file('d/new'),
      file('d/sub/new'),
      file('d/both'),
      whiteout('d/.wh..wh..opq'),
      file('d/after'),
    ])
    expect(Object.keys(describeTree(world.join('root')))).toEqual([
      'd',
      'd/after',
      'd/both',
      'd/new',
      'd/sub',
      'd/sub/new',
    ])
    expect(readFileSync(world.join('root/d/both'), 'utf8')).toBe('d/both')
  })

  it('with a prefix of their own are taken as names', async () => {
    writeFileSync(world.join('root/.wh.plnk'), '')
    await apply(plain(), [whiteout('.wh..wh.plnk')])
    expect(readdirSync(world.join('root'))).toEqual([])
  })
})

describe('whiteouts in an upper directory', () => {
  it('hide names and directories in the mounted overlay', async () => {
    for (const path of ['lower/d/sub', 'lowest/d', 'lower/tree/x']) mkdirSync(world.join(path), { recursive: true })
    for (const path of ['lower/gone', 'lowest/gone2', 'lower/d/old', 'lowest/d/older', 'lower/kept']) {
      writeFileSync(world.join(path), '')
    }
    await apply(overlay(), [
      { ...whiteout('.wh.gone'), uid: 7, gid: 8 },
      whiteout('.wh.gone2'),
      whiteout('.wh.tree'),
      directory('d'),
      file('d/new'),
      whiteout('d/.wh..wh..opq'),
    ])
    expect(lstatSync(world.join('upper/gone'))).toMatchObject({ uid: 7, gid: 8, rdev: 0 })
    const merged = await mountOverlay()
    expect(Object.keys(describeTree(merged))).toEqual(['d', 'd/new', 'kept'])
  })

  it('fail for a name that this layer wrote', async () => {
    await expect(apply(overlay(), [file('f'), whiteout('.wh.f')])).rejects.toMatchObject({ code: 'EEXIST' })
  })

  it('before a directory of the same name make it start empty', async () => {
    mkdirSync(world.join('lower/d'))
    writeFileSync(world.join('lower/d/old'), '')
    await apply(overlay(), [whiteout('.wh.d'), directory('d'), file('d/new')])
    expect(readdirSync(`${await mountOverlay()}/d`)).toEqual(['new'])
  })

  it('work without any lower directory', async () => {
    const target: LayerTarget = { kind: 'overlay', upper: world.join('upper'), lowers: [] }
    await apply(target, [whiteout('.wh.x'), file('a/b')])
    expect(readdirSync(world.join('upper')).sort()).toEqual(['a', 'x'])
  })
})

describe('a missing parent in an upper directory', () => {
  it('gets owner, mode, times and attributes of the nearest layer that has it', async () => {
    mkdirSync(world.join('lowest/a/b'), { recursive: true })
    mkdirSync(world.join('lower/a'), { recursive: true, mode: 0o700 })
    execFileSync('chown', ['5:6', world.join('lower/a')])
    execFileSync('chmod', ['1750', world.join('lowest/a/b')])
    lsetxattr(world.join('lower/a'), 'trusted.overlay.opaque', Buffer.from('y'))
    lsetxattr(world.join('lower/a'), 'security.test', Buffer.from('kept'))
    utimens(world.join('lower/a'), { atime: 5n, mtime: 1_234_567_890_123_456_789n })
    await apply(overlay(), [file('a/b/f')])
    const upper = lstatSync(world.join('upper/a'), { bigint: true })
    expect(upper).toMatchObject({ uid: 5n, gid: 6n, mtimeNs: 1_234_567_890_123_456_789n })
    expect(upper.mode & 0o7777n).toBe(0o700n)
    expect(lgetxattr(world.join('upper/a'), 'security.test')?.toString()).toBe('kept')
    expect(lgetxattr(world.join('upper/a'), 'trusted.overlay.opaque')).toBeUndefined()
    expect(lstatSync(world.join('upper/a/b')).mode & 0o7777).toBe(0o1750)
  })

  it('takes nothing from a layer where it is something else', async () => {
    mkdirSync(world.join('lowest/a'), { mode: 0o700 })
    symlinkSync('nowhere', world.join('lower/b'))
    writeFileSync(world.join('lower/a'), '')
    await apply(overlay(), [file('a/f'), file('b/f')])
    expect(lstatSync(world.join('upper/a')).mode & 0o7777).toBe(0o755)
    expect(lstatSync(world.join('upper/b')).isDirectory()).toBe(true)
  })
})

it('leaves device nodes out in a user namespace', async () => {
  const path = world.join('layer.tar')
  const device: LayerEntry = { name: 'null', type: 'character-device', devmajor: 1, devminor: 3 }
  writeFileSync(path, await tarOf([device, file('f')]))
  await pool.apply({ source: { from: { path }, compression: 'none' }, target: plain(), skipDevices: true })
  expect(readdirSync(world.join('root'))).toEqual(['f'])
})
