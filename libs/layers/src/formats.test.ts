import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { lsetxattr, mkfifo, utimens } from '@flotilla/linux'
import { type TempWorld, tempWorld } from '@flotilla/testing'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { describeTree } from './describe-tree.ts'
import { createLayerPool } from './index.ts'

const pool = createLayerPool({ workers: 1 })
afterAll(() => pool[Symbol.asyncDispose]())

let world: TempWorld
beforeEach(async () => {
  world = await tempWorld({ tmpfs: true, name: 'layers' })
})
afterEach(() => world[Symbol.asyncDispose]())

function makeDirectories(...names: string[]): void {
  for (const name of names) mkdirSync(world.join(name), { recursive: true })
}

function makeTree(): string {
  makeDirectories('tree/dir/sub', `tree/${'long-directory-name/'.repeat(9)}`)
  const tree = world.join('tree')
  writeFileSync(`${tree}/dir/file`, 'hello')
  writeFileSync(`${tree}/dir/empty`, '')
  writeFileSync(`${tree}/${'n'.repeat(200)}`, 'long')
  writeFileSync(`${tree}/${'long-directory-name/'.repeat(9)}end`, 'deep')
  symlinkSync(`${'far/'.repeat(40)}away`, `${tree}/longlink`)
  symlinkSync('/etc/passwd', `${tree}/absolute`)
  linkSync(`${tree}/dir/file`, `${tree}/hardlink`)
  mkfifo(`${tree}/fifo`)
  const odd = Buffer.concat([Buffer.from(`${tree}/odd-`), Buffer.from([0xff, 0xe9])])
  writeFileSync(odd, 'odd')
  writeFileSync(`${tree}/日本`, 'utf8')
  execFileSync('chown', ['-R', '12:34', tree])
  execFileSync('chmod', ['4751', `${tree}/dir/file`])
  execFileSync('chmod', ['1777', `${tree}/dir/sub`])
  utimens(`${tree}/dir/empty`, { atime: 0n, mtime: { seconds: 1_600_000_000, nanos: 0 } })
  utimens(`${tree}/absolute`, { atime: 0n, mtime: { seconds: 1_600_000_001, nanos: 0 } })
  utimens(`${tree}/dir`, { atime: 0n, mtime: { seconds: 1_500_000_000, nanos: 0 } })
  return tree
}

async function apply(name: string): Promise<{ root: string; digest: string; size: number }> {
  const root = world.join(`root-${name}`)
  mkdirSync(root)
  const target = { kind: 'plain', root } as const
  const result = await pool.apply({ source: { from: { path: world.join(name) }, compression: 'detect' }, target })
  return { root, ...result }
}

function tar(name: string, ...args: string[]): string {
  execFileSync('tar', ['-C', world.join('tree'), '--sort=name', '-cf', world.join(name), ...args, '.'])
  return name
}

describe('an archive by GNU tar', () => {
  it.each(['gnu', 'oldgnu', 'posix'])('in %s format gives the same tree', async (format) => {
    const tree = makeTree()
    const exact = format === 'posix'
    const { root, digest } = await apply(tar('a.tar', `--format=${format}`))
    const options = { seconds: !exact, directoryTimes: true }
    expect(describeTree(root, options)).toEqual(describeTree(tree, options))
    expect(digest).toBe(
      `sha256:${createHash('sha256')
        .update(readFileSync(world.join('a.tar')))
        .digest('hex')}`,
    )
  })

  it.each(['ustar', 'v7'])('in %s format gives the names that fit it', async (format) => {
    makeDirectories('tree/a/b', `tree/${'x'.repeat(90)}/${'y'.repeat(50)}`)
    writeFileSync(world.join('tree/a/b/f'), 'x')
    if (format === 'ustar') writeFileSync(world.join('tree', 'x'.repeat(90), 'y'.repeat(50), 'z'), 'prefix')
    else execFileSync('rm', ['-r', world.join('tree', 'x'.repeat(90))])
    const { root } = await apply(tar('a.tar', `--format=${format}`))
    expect(describeTree(root, { seconds: true })).toEqual(describeTree(world.join('tree'), { seconds: true }))
  })

  it('with extended attributes, binary ones too, keeps them and ignores trusted ones', async () => {
    makeDirectories('tree')
    writeFileSync(world.join('tree/f'), '')
    const capability = Buffer.from('0100000200ff80000000000000000000000000000'.padEnd(40, '0').slice(0, 40), 'hex')
    lsetxattr(world.join('tree/f'), 'security.capability', capability)
    lsetxattr(world.join('tree/f'), 'trusted.secret', Buffer.from('x'))
    const { root } = await apply(tar('a.tar', '--xattrs', '--xattrs-include=*'))
    const want = describeTree(world.join('tree'), { xattrs: ['security.capability', 'user.text'] })
    expect(describeTree(root)).toEqual(want)
    expect(want.f).toContain('security.capability=01000002')
  })

  it.each([
    ['--format=gnu'],
    ['--format=posix', '--sparse-version=0.0'],
    ['--format=posix', '--sparse-version=0.1'],
    ['--format=posix', '--sparse-version=1.0'],
  ])('with sparse files %s %s gives their content, and holes stay holes', async (...format) => {
    makeDirectories('tree')
    const file = openSync(world.join('tree/many'), 'w')
    // More runs than the header and two extension blocks hold.
    for (let run = 0; run < 60; run++) writeSync(file, Buffer.alloc(5000, run + 1), 0, 5000, run * 1_000_000)
    closeSync(file)
    truncateSync(world.join('tree/many'), 70_000_000)
    writeFileSync(world.join('tree/hole'), '')
    truncateSync(world.join('tree/hole'), 5_000_000)
    writeFileSync(world.join('tree/z-after'), 'still in step')
    const { root } = await apply(tar('a.tar', '--sparse', '--hole-detection=raw', ...format))
    expect(describeTree(root, { seconds: true })).toEqual(describeTree(world.join('tree'), { seconds: true }))
    expect(lstatSync(`${root}/many`).blocks * 512).toBeLessThan(2_000_000)
  })
})

it('reads what busybox tar writes', async () => {
  const tree = makeTree()
  execFileSync('busybox', ['tar', '-C', tree, '-cf', world.join('a.tar'), '.'])
  const { root } = await apply('a.tar')
  expect(describeTree(root, { seconds: true })).toEqual(describeTree(tree, { seconds: true }))
})

describe('compression', () => {
  it.each([
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
    [
      'gzip in two members',
      (bytes: Buffer) => Buffer.concat([gzipSync(bytes.subarray(0, 99)), gzipSync(bytes.subarray(99))]),
    ],
    [
      'zstd behind a skippable frame',
      (bytes: Buffer) =>
        Buffer.concat([Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9]), zstdCompressSync(bytes)]),
    ],
    ['none', (bytes: Buffer) => bytes],
  ])('%s is found by its first bytes, and the digest is that of what comes out', async (_, compress) => {
    makeTree()
    tar('a.tar')
    const bytes = Buffer.concat([readFileSync(world.join('a.tar')), Buffer.from('what follows the end')])
    writeFileSync(world.join('b'), compress(bytes))
    const { root, digest, size } = await apply('b')
    expect(describeTree(root, { seconds: true })).toEqual(describeTree(world.join('tree'), { seconds: true }))
    expect({ digest, size }).toEqual({
      digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
      size: bytes.length,
    })
  })

  it('of an empty blob is an empty layer', async () => {
    writeFileSync(world.join('empty'), '')
    expect(await apply('empty')).toMatchObject({
      size: 0,
      digest: 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    })
  })

  it('is not looked for when the media type says plain', async () => {
    makeTree()
    tar('a.tar')
    writeFileSync(world.join('b'), gzipSync(readFileSync(world.join('a.tar'))))
    makeDirectories('root')
    const target = { kind: 'plain', root: world.join('root') } as const
    const source = { from: { path: world.join('b') }, compression: 'none' } as const
    await expect(pool.apply({ source, target })).rejects.toThrow('tar')
  })
})
