import { createHash, randomBytes } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { blobOf, buildImage, digestOf, startFaultyRegistry } from '@flotilla/testing'
import { expect } from 'vitest'
import type { Fixture } from '../harness/fixture.ts'
import { suite } from '../harness/suite.ts'
import { expectNothingLeft } from './nothing-left.ts'
import { imageOf, refusedPull, withTreeOf } from './pulled.ts'
import { headerOf, type Member, rawTar } from './raw-tar.ts'

const gzipType = 'application/vnd.oci.image.layer.v1.tar+gzip'
const zstdType = 'application/vnd.oci.image.layer.v1.tar+zstd'

const layerOf = (members: Iterable<Member>) => {
  const tar = rawTar(members)
  return imageOf(blobOf(gzipType, gzipSync(tar, { level: 1 })), digestOf(tar))
}

/** A directory of the test's own outside everything, which a layer tries to reach, and what must still be in it. */
function outside({ world }: Fixture) {
  const path = world.join('outside')
  mkdirSync(path)
  writeFileSync(`${path}/secret`, 'nobody else reads this')
  return {
    path,
    expectUntouched() {
      expect(readdirSync(path)).toEqual(['secret'])
      expect(readFileSync(`${path}/secret`, 'utf8')).toBe('nobody else reads this')
      expect(lstatSync(`${path}/secret`).nlink).toBe(1)
    },
  }
}

const up = '../'.repeat(8)

suite(
  'a layer',
  ({ test, system }) => {
    for (const snapshotter of ['overlayfs', 'native']) {
      test(`with .. in its names stays inside, ${snapshotter}`, async (fixture) => {
        await using registry = await startFaultyRegistry()
        const { path, expectUntouched } = outside(fixture)
        const image = await layerOf([
          { name: `${up}${path.slice(1)}/a`, content: 'a' },
          { name: 'x/../../../b', content: 'b' },
          { name: `${up}c`, type: 'directory' },
          { name: '..', type: 'directory' },
        ])
        await withTreeOf(fixture, registry, image, snapshotter, (tree) => {
          expect(readFileSync(`${tree}${path}/a`, 'utf8')).toBe('a')
          expect(readFileSync(`${tree}/b`, 'utf8')).toBe('b')
          expect(lstatSync(`${tree}/c`).isDirectory()).toBe(true)
        })
        expectUntouched()
      })

      test(`with absolute names stays inside, ${snapshotter}`, async (fixture) => {
        await using registry = await startFaultyRegistry()
        const { path, expectUntouched } = outside(fixture)
        const image = await layerOf([
          { name: `${path}/a`, content: 'a' },
          { name: `//${path}/secret`, content: 'other' },
        ])
        await withTreeOf(fixture, registry, image, snapshotter, (tree) => {
          expect(readFileSync(`${tree}${path}/a`, 'utf8')).toBe('a')
          expect(readFileSync(`${tree}${path}/secret`, 'utf8')).toBe('other')
        })
        expectUntouched()
      })

      test(`with names through its own symlinks stays inside, ${snapshotter}`, async (fixture) => {
        await using registry = await startFaultyRegistry()
        const { path, expectUntouched } = outside(fixture)
        const image = await layerOf([
          { name: 'absolute', type: 'symlink', link: path },
          { name: 'absolute/a', content: 'a' },
          { name: 'relative', type: 'symlink', link: `${up}${path.slice(1)}` },
          { name: 'relative/b', content: 'b' },
          { name: 'twice', type: 'symlink', link: 'absolute' },
          { name: 'twice/secret', content: 'other' },
          { name: 'file', type: 'symlink', link: `${path}/secret` },
          { name: 'file', content: 'a file now' },
          { name: '.wh.absolute/secret', content: '' },
        ])
        await withTreeOf(fixture, registry, image, snapshotter, (tree) => {
          expect(readlinkSync(`${tree}/absolute`)).toBe(path)
          expect(readFileSync(`${tree}${path}/a`, 'utf8')).toBe('a')
          expect(readFileSync(`${tree}${path}/b`, 'utf8')).toBe('b')
          expect(readFileSync(`${tree}/file`, 'utf8')).toBe('a file now')
        })
        expectUntouched()
      })

      test(`with hard links to what is outside is refused, ${snapshotter}`, async (fixture) => {
        await using registry = await startFaultyRegistry()
        const { path, expectUntouched } = outside(fixture)
        for (const link of [`${path}/secret`, `${up}${path.slice(1)}/secret`]) {
          const reference = registry.add('hostile/link:1', await layerOf([{ name: 'l', type: 'hard link', link }]))
          expect(await refusedPull(fixture, reference, snapshotter)).toMatch(/failed to extract layer|no such file/)
          await expectNothingLeft(fixture, { images: [reference] })
        }
        const through = await layerOf([
          { name: 'd', type: 'symlink', link: path },
          { name: 'l', type: 'hard link', link: 'd/secret' },
        ])
        const reference = registry.add('hostile/link:2', through)
        expect(await refusedPull(fixture, reference, snapshotter)).toMatch(/failed to extract layer|no such file/)
        await expectNothingLeft(fixture, { images: [reference] })
        expectUntouched()
      })
    }

    test('with whiteouts that leave their directory is refused', async (fixture) => {
      await using registry = await startFaultyRegistry()
      const { path, expectUntouched } = outside(fixture)
      const image = await layerOf([
        { name: 'd', type: 'symlink', link: path },
        { name: 'd/.wh...', content: '' },
      ])
      const reference = registry.add('hostile/whiteout:1', image)
      expect(await refusedPull(fixture, reference, 'native')).toMatch(/invalid whiteout name/)
      await expectNothingLeft(fixture, { images: [reference] })
      expectUntouched()
    })

    test('with device nodes has them, and no container can open them', async (fixture) => {
      await using registry = await startFaultyRegistry()
      const devices = rawTar([
        { name: 'memory', type: 'character device', device: [1, 1] },
        { name: 'disk', type: 'block device', device: [7, 0] },
      ])
      const reference = registry.add('hostile/devices:1', await buildImage({ layers: [devices] }))
      await fixture.ctr(...fixture.local('pull', '--plain-http', reference))
      for (const device of ['memory', 'disk']) {
        const cat = await fixture.run(['run', '--rm', reference, `cat-${device}`, 'cat', `/${device}`])
        expect(cat).toMatchObject({ code: 1, stdout: '' })
        expect(cat.stderr).toMatch(/Operation not permitted/)
      }
    })

    const noise = { name: 'noise', content: randomBytes(60_000).toString('base64') }
    const tar = rawTar([noise])
    const gzip = gzipSync(tar)
    const zstd = zstdCompressSync(tar)
    const broken = (bytes: Buffer, at: number) => bytes.map((byte, index) => (index === at ? byte ^ 255 : byte))
    const corrupt: ReadonlyArray<readonly [what: string, type: string, bytes: Buffer, says: RegExp]> = [
      ['gzip that ends early', gzipType, gzip.subarray(0, 30_000), /unexpected EOF|unexpected end/],
      ['gzip with a wrong checksum', gzipType, Buffer.from(broken(gzip, gzip.length - 6)), /checksum|data check/],
      [
        'gzip with other bytes inside',
        gzipType,
        Buffer.from(broken(gzip, 20_000)),
        /corrupt|checksum|invalid|data check/,
      ],
      ['zstd that ends early', zstdType, zstd.subarray(0, 30_000), /EOF|unexpected end|truncated|incomplete/],
      ['a tar that ends early', gzipType, gzipSync(tar.subarray(0, 30_000)), /EOF|unexpected end/],
      ['no tar at all', gzipType, gzipSync(randomBytes(5_000)), /invalid tar header/],
      ['no gzip at all', gzipType, randomBytes(5_000), /invalid tar header/],
    ]
    for (const [what, type, bytes, says] of corrupt)
      test(`that is ${what} is refused, and nothing of it is left`, async (fixture) => {
        await using registry = await startFaultyRegistry()
        const reference = registry.add('hostile/corrupt:1', await imageOf(blobOf(type, bytes), digestOf(tar)))
        expect(await refusedPull(fixture, reference, 'overlayfs')).toMatch(says)
        await expectNothingLeft(fixture, { images: [reference] })
      })

    test('that is another than the config says is refused, and nothing of it is left', async (fixture) => {
      await using registry = await startFaultyRegistry()
      const image = await imageOf(blobOf(gzipType, gzip), digestOf(Buffer.from('other')))
      const reference = registry.add('hostile/other:1', image)
      expect(await refusedPull(fixture, reference, 'overlayfs')).toMatch(/wrong diff id calculated on extraction/)
      await expectNothingLeft(fixture, { images: [reference] })
    })

    const entries = Number(process.env.FLOTILLA_ENTRIES ?? 200_000)
    test(`of ${entries} entries is applied`, async (fixture) => {
      await using registry = await startFaultyRegistry()
      function* many(): Iterable<Member> {
        for (let i = 0; i < entries; i++) {
          if (i % 1000 === 0) yield { name: `d${i / 1000}`, type: 'directory' }
          yield { name: `d${Math.floor(i / 1000)}/${i}` }
        }
      }
      const image = await layerOf(many())
      const before = await peakMemory(system())
      await withTreeOf(fixture, registry, image, 'overlayfs', (tree) => {
        const directories = readdirSync(tree)
        expect(directories).toHaveLength(Math.ceil(entries / 1000))
        const files = directories.reduce((count, name) => count + readdirSync(`${tree}/${name}`).length, 0)
        expect(files).toBe(entries)
      })
      expect((await peakMemory(system())) - before).toBeLessThan(512)
    }, 600_000)

    test('of 1 GiB of zeros in 1 MiB is applied in bounded memory', async (fixture) => {
      await using registry = await startFaultyRegistry()
      const gibibyte = 1024 ** 3
      const piece = Buffer.alloc(1024 ** 2)
      const ends = [headerOf({ name: 'zeros', size: gibibyte }), Buffer.alloc(1024)] as const
      // Members of a gzip stream one behind the other are one stream; so the zeros need be compressed only once.
      const zeros = gzipSync(piece, { level: 9 })
      const bytes = Buffer.concat([gzipSync(ends[0]), ...Array.from({ length: 1024 }, () => zeros), gzipSync(ends[1])])
      expect(bytes.length).toBeLessThan(1.2 * 1024 ** 2)
      const hash = createHash('sha256').update(ends[0])
      for (let i = 0; i < 1024; i++) hash.update(piece)
      const diffId = `sha256:${hash.update(ends[1]).digest('hex')}`
      const image = await imageOf(blobOf(gzipType, bytes), diffId)
      const before = await peakMemory(system())
      await withTreeOf(fixture, registry, image, 'overlayfs', (tree) =>
        expect(lstatSync(`${tree}/zeros`).size).toBe(gibibyte),
      )
      expect((await peakMemory(system())) - before).toBeLessThan(512)
    }, 600_000)
  },
  { versions: ['1.6'] },
)

/** The most memory that any one process of the system had resident so far, MiB. */
async function peakMemory(system: { processes(): Promise<ReadonlyMap<string, number>> }): Promise<number> {
  const pids = [...(await system.processes()).values()]
  const peaks = pids.map((pid) => Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]))
  return Math.max(...peaks) / 1024
}
