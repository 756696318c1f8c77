import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { constants, gzipSync, zstdCompressSync } from 'node:zlib'
import { generateTree, type LayerEntry, seeded, type TempWorld, tarOf, tempWorld } from '@flotilla/testing'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { describeTree } from './describe-tree.ts'
import { createLayerPool, LayerError } from './index.ts'
import { writePaxRecord } from './tar/pax.ts'
import { type HeaderFields, padding, tarHeader, tarTrailer } from './tar/writer.ts'

const pool = createLayerPool({ workers: 1 })
afterAll(() => pool[Symbol.asyncDispose]())

let world: TempWorld
beforeEach(async () => {
  world = await tempWorld({ tmpfs: true, name: 'layers' })
  mkdirSync(world.join('root'))
  mkdirSync(world.join('outside'))
  writeFileSync(world.join('outside/secret'), 'secret')
})
afterEach(() => world[Symbol.asyncDispose]())

async function apply(bytes: Buffer): Promise<{ digest: string; size: number }> {
  writeFileSync(world.join('layer'), bytes)
  return await applyFile()
}

function applyFile(signal?: AbortSignal) {
  return pool.apply({
    source: { from: { path: world.join('layer') }, compression: 'detect' },
    target: { kind: 'plain', root: world.join('root') },
    ...(signal === undefined ? {} : { signal }),
  })
}

const member = (fields: Partial<HeaderFields> & { name: string }, content = ''): Buffer => {
  const size = content.length
  return Buffer.concat([
    tarHeader({ type: '0', mode: 0o644, mtime: 0, size, ...fields }),
    Buffer.from(content),
    padding(size),
  ])
}
const archive = (...members: Buffer[]): Buffer => Buffer.concat([...members, tarTrailer()])
const extended = (type: string, ...records: [string, string][]): Buffer => {
  const bytes = Buffer.concat(records.map(([key, value]) => writePaxRecord(key, Buffer.from(value, 'latin1'))))
  return Buffer.concat([
    tarHeader({ type, name: 'pax', mode: 0, mtime: 0, size: bytes.length }),
    bytes,
    padding(bytes.length),
  ])
}

function expectUntouched(): void {
  expect(readdirSync(world.path).sort()).toEqual(['layer', 'outside', 'root'])
  expect(readdirSync(world.join('outside'))).toEqual(['secret'])
  expect(readFileSync(world.join('outside/secret'), 'utf8')).toBe('secret')
  expect(statSync(world.join('outside/secret'))).toMatchObject({ nlink: 1, uid: 0 })
}

describe('names that would leave the tree', () => {
  it.each([
    ['../escaped', 'escaped'],
    ['/absolute', 'absolute'],
    ['a/../../../up', 'up'],
    ['./x/./../y', 'y'],
    ['..//.././deep/../z', 'z'],
  ])('%s stays inside as %s', async (name, expected) => {
    await apply(archive(member({ name }, 'content')))
    expect(existsSync(world.join('root', expected))).toBe(true)
    expectUntouched()
  })

  it('through symlinks stay inside, whatever they point to', async () => {
    const link = (name: string, linkName: string) => member({ type: '2', name, linkName })
    await apply(
      archive(
        link('abs', world.join('outside')),
        link('rel', '../outside'),
        link('self', '.'),
        link('chain', 'rel'),
        member({ name: 'abs/one' }, 'x'),
        member({ name: 'rel/secret' }, 'overwritten'),
        member({ name: 'self/../../two' }, 'x'),
        member({ name: 'chain/three' }, 'x'),
        member({ name: 'rel/.wh.secret' }),
      ),
    )
    expectUntouched()
    expect(readdirSync(world.join('root/outside'))).toEqual(['three'])
  })

  it('through a file that is a symlink replace the symlink', async () => {
    await apply(
      archive(
        member({ type: '2', name: 'f', linkName: world.join('outside/secret') }),
        member({ name: 'f', uid: 5 }, 'new'),
      ),
    )
    expectUntouched()
    expect(readFileSync(world.join('root/f'), 'utf8')).toBe('new')
  })

  it('in hard links are looked up inside', async () => {
    const link = (linkName: string) => archive(member({ type: '1', name: 'hard', linkName, uid: 5, mode: 0o777 }))
    for (const target of [world.join('outside/secret'), '../outside/secret', '../../../etc/passwd']) {
      await expect(apply(link(target))).rejects.toMatchObject({ code: 'ENOENT' })
    }
    const through = archive(
      member({ type: '2', name: 'd', linkName: '../outside' }),
      member({ type: '1', name: 'hard', linkName: 'd/secret', uid: 5 }),
    )
    await expect(apply(through)).rejects.toMatchObject({ code: 'ENOENT' })
    // The link's last part is not followed: owner and mode go to the symlink, not to the file it names.
    await apply(
      archive(
        member({ type: '2', name: 's', linkName: world.join('outside/secret') }),
        member({ type: '1', name: 'hard', linkName: 's', uid: 5, mode: 0o777 }),
      ),
    )
    expectUntouched()
    await expect(apply(link('/'))).rejects.toThrow('hard link to the root')
  })

  it('that loop end', async () => {
    const loop = archive(
      member({ type: '2', name: 'a', linkName: 'b' }),
      member({ type: '2', name: 'b', linkName: 'a' }),
      member({ name: 'a/f' }),
    )
    await expect(apply(loop)).rejects.toMatchObject({ code: 'ELOOP' })
  })

  it('that are too long are refused', async () => {
    await expect(apply(archive(member({ name: 'x'.repeat(300) })))).rejects.toMatchObject({ code: 'ENAMETOOLONG' })
    await expect(apply(archive(member({ name: `${'d/'.repeat(100_000)}f` })))).rejects.toMatchObject({
      code: 'ENAMETOOLONG',
    })
  })
})

describe('extended headers', () => {
  it('that are global are ignored', async () => {
    await apply(archive(extended('g', ['path', 'other'], ['size', '99']), member({ name: 'f' }, 'x')))
    expect(readdirSync(world.join('root'))).toEqual(['f'])
  })

  it.each<[string, Buffer]>([
    ['a NUL in a path', archive(extended('x', ['path', 'a\0b']), member({ name: 'f' }))],
    ['a negative size', archive(extended('x', ['size', '-1']), member({ name: 'f' }))],
    ['a size that is no number', archive(extended('x', ['size', '1e3']), member({ name: 'f' }))],
    ['a wrong record length', Buffer.concat([member({ type: 'x', name: 'x' }, '99 path=a\n'), member({ name: 'f' })])],
    [
      'a sparse map that overlaps',
      archive(
        extended('x', ['GNU.sparse.map', '0,5,2,5'], ['GNU.sparse.size', '10']),
        member({ name: 'f' }, '0123456789'),
      ),
    ],
    [
      'a sparse map beyond the file',
      archive(
        extended('x', ['GNU.sparse.map', '90,10'], ['GNU.sparse.size', '10']),
        member({ name: 'f' }, '0123456789'),
      ),
    ],
    [
      'a sparse map without end',
      archive(
        extended('x', ['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'], ['GNU.sparse.realsize', '5']),
        member({ name: 'f' }, '9'.repeat(600)),
      ),
    ],
    ['an archive that ends in one', Buffer.concat([extended('x', ['path', 'p'])])],
  ])('with %s are an error', async (_, bytes) => {
    await expect(apply(bytes)).rejects.toThrow(/tar/)
  })

  it('over a mebibyte are refused before they are read', async () => {
    const huge = tarHeader({ type: 'x', name: 'x', mode: 0, mtime: 0, size: 1 << 30 })
    await expect(apply(Buffer.concat([huge, Buffer.alloc(1024)]))).rejects.toThrow('too long')
  })
})

describe('broken streams', () => {
  const good = async () => await tarOf(generateTree(3, { entries: 40 }))

  it.each([
    ['gzip', gzipSync],
    ['zstd', (bytes: Buffer) => zstdCompressSync(bytes, { params: { [constants.ZSTD_c_checksumFlag]: 1 } })],
  ])('of %s that are cut or changed are errors', async (_, compress) => {
    const bytes = compress(await good())
    await expect(apply(bytes.subarray(0, bytes.length >> 1))).rejects.toBeInstanceOf(LayerError)
    await expect(apply(bytes.subarray(0, bytes.length - 2))).rejects.toBeInstanceOf(LayerError)
    const changed = Buffer.from(bytes)
    changed.fill(0x55, changed.length >> 1, (changed.length >> 1) + 40)
    await expect(apply(changed)).rejects.toBeInstanceOf(LayerError)
  })

  it('of tar that end in a member or a header are errors, and the files before are there', async () => {
    const bytes = archive(member({ name: 'whole' }, 'x'), member({ name: 'half' }, 'y'.repeat(5000)))
    await expect(apply(bytes.subarray(0, 2000))).rejects.toThrow('unexpected end')
    await expect(apply(bytes.subarray(0, 1300))).rejects.toThrow('unexpected end')
    expect(readFileSync(world.join('root/whole'), 'utf8')).toBe('x')
  })

  it('that are no tar are errors', async () => {
    await expect(apply(Buffer.from('x'.repeat(2000)))).rejects.toThrow('invalid tar header')
    await expect(apply(archive(member({ name: 'c', type: '7' })))).rejects.toThrow('unhandled tar header type 55')
  })

  it('without final zero blocks are whole', async () => {
    await apply(member({ name: 'f' }, 'x'))
    expect(readdirSync(world.join('root'))).toEqual(['f'])
  })
})

describe('size', () => {
  it('of 1 GiB of zeros in 1 MiB is streamed', { timeout: 60_000 }, async () => {
    const header = tarHeader({ type: '0', name: 'zeros', mode: 0o644, mtime: 0, size: 2 ** 30 })
    const zeros = gzipSync(Buffer.alloc(2 ** 24))
    const members = [gzipSync(header), ...Array.from({ length: 64 }, () => zeros), gzipSync(tarTrailer())]
    writeFileSync(world.join('layer'), Buffer.concat(members))
    expect(statSync(world.join('layer')).size).toBeLessThan(1.1 * 2 ** 20)
    await using small = createLayerPool({ workers: 1, memoryLimit: 32 })
    const result = await small.apply({
      source: { from: { path: world.join('layer') }, compression: 'detect' },
      target: { kind: 'plain', root: world.join('root') },
    })
    expect(result.size).toBe(2 ** 30 + 1536)
    expect(statSync(world.join('root/zeros')).size).toBe(2 ** 30)
  })

  it('of many entries needs little memory', { timeout: 60_000 }, async () => {
    const file = openSync(world.join('layer'), 'w')
    const count = 120_000
    for (let at = 0; at < count; at += 1000) {
      const members = Array.from({ length: 1000 }, (_, index) =>
        member({ name: `d${at % 50}/name-${at + index}`, type: '1', linkName: 'one' }),
      )
      writeSync(file, at === 0 ? Buffer.concat([member({ name: 'one' }), ...members]) : Buffer.concat(members))
    }
    closeSync(file)
    await using small = createLayerPool({ workers: 1, memoryLimit: 24 })
    const result = await small.apply({
      source: { from: { path: world.join('layer') }, compression: 'detect' },
      target: { kind: 'overlay', upper: world.join('root'), lowers: [] },
    })
    expect(result.size).toBe((count + 1) * 512)
    expect(statSync(world.join('root/one')).nlink).toBe(count + 1)
  })
})

describe('mutated archives (fixed seed)', () => {
  it('never write outside the root and never hang', { timeout: 60_000 }, async () => {
    const random = seeded(20240607)
    const below = (limit: number) => Math.floor(random() * limit)
    const hostile: LayerEntry[] = [
      { name: 'link', type: 'symlink', linkname: world.join('outside') },
      { name: 'link/in', content: 'x' },
      { name: 'up', type: 'symlink', linkname: '../outside' },
      { name: 'up/.wh.secret', content: '' },
      { name: 'hard', type: 'link', linkname: 'link/in' },
    ]
    const seeds = await Promise.all(
      [1, 2, 3].map(async (seed) => await tarOf([...hostile, ...generateTree(seed, { entries: 25, devices: true })])),
    )
    let failed = 0
    const rounds = 400
    for (let round = 0; round < rounds; round++) {
      const bytes = Buffer.from(seeds[below(seeds.length)] ?? Buffer.alloc(0))
      for (let change = below(6); change >= 0; change--) mutate(bytes, below)
      const cut = random() < 0.2 ? bytes.subarray(0, below(bytes.length)) : bytes
      await apply(random() < 0.2 ? gzipSync(cut, { level: 1 }) : cut).catch((error: unknown) => {
        expect(error).toBeInstanceOf(LayerError)
        failed++
      })
      expectUntouched()
      if (round % 20 === 19) {
        execFileSync('rm', ['-rf', world.join('root')])
        mkdirSync(world.join('root'))
      }
    }
    // Both ends of the reader were exercised.
    expect(failed).toBeGreaterThan(rounds / 10)
    expect(failed).toBeLessThan(rounds)
    expect(Object.keys(describeTree(world.join('outside')))).toEqual(['secret'])
  })
})

/** Changes some bytes, or swaps or repeats blocks; half of the changed headers get a right checksum again. */
function mutate(bytes: Buffer, below: (limit: number) => number): void {
  const blocks = Math.floor(bytes.length / 512)
  const block = below(blocks) * 512
  switch (below(4)) {
    case 0:
      for (let count = below(8); count >= 0; count--) bytes[block + below(512)] = below(256)
      break
    case 1:
      bytes.copy(bytes, below(blocks) * 512, block, block + 512)
      break
    case 2:
      // Name, type or link target become something else that matters.
      bytes.write(
        ['../x', '/y', 'link/z', '.wh.link', '.wh..wh..opq', 'up/../..'][below(6)] ?? '',
        block + (below(2) === 0 ? 0 : 157),
      )
      break
    default:
      bytes[block + 156] = 0x30 + below(80)
  }
  if (below(4) > 0) repairChecksum(bytes.subarray(block, block + 512))
}

function repairChecksum(block: Buffer): void {
  if (block.subarray(257, 262).toString() !== 'ustar') return
  block.fill(0x20, 148, 156)
  let sum = 0
  for (const byte of block) sum += byte
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
}
