import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { buildImage, dockerArchive, ociArchive } from '@flotilla/testing'
import { expect } from 'vitest'
import { rowsOf } from '../harness/output.ts'
import { sharedImage } from '../harness/shared-image.ts'
import { suite } from '../harness/suite.ts'

suite(
  'archives',
  ({ test, version }) => {
    const local = version.name === '2.1' ? ['--local'] : []
    const importing = ['images', 'import', ...local]

    test('an OCI archive is imported, unpacked and runs', async ({ ctr, world }) => {
      const image = await buildImage({ index: true })
      writeFileSync(world.join('oci.tar'), await ociArchive(image, 'example.test/box:2'))
      const printed = await ctr(...importing, world.join('oci.tar'))
      expect(printed).toMatch(
        new RegExp(`^unpacking example\\.test/box:2 \\(${image.target.digest}\\)\\.\\.\\.done\n$`),
      )
      expect(rowsOf(await ctr('images', 'ls'))[0]?.slice(0, 3)).toEqual([
        'example.test/box:2',
        image.target.mediaType,
        image.target.digest,
      ])
      expect(await ctr('run', '--rm', 'example.test/box:2', 'one', 'echo', 'imported')).toBe('imported\n')
    })

    test('a Docker archive is imported and runs', async ({ ctr, world }) => {
      const image = await buildImage({ compression: 'none', layers: [[{ name: 'hello', content: 'from docker\n' }]] })
      writeFileSync(world.join('docker.tar'), await dockerArchive(image, 'example.test/box:3'))
      const printed = await ctr(...importing, world.join('docker.tar'))
      expect(printed).toMatch(/^unpacking example\.test\/box:3 \(sha256:[0-9a-f]{64}\)\.\.\.done\n$/)
      expect(await ctr('run', '--rm', 'example.test/box:3', 'one', 'cat', '/hello')).toBe('from docker\n')
    })

    test('what is exported is whole, and comes back with all its digests', async ({ ctr, pull, world }) => {
      const reference = await pull()
      const { image } = await sharedImage()
      expect(await ctr('images', 'export', ...local, world.join('x.tar'), reference)).toBe('')
      execFileSync('tar', ['-xf', world.join('x.tar'), '-C', world.path])
      for (const blob of image.blobs)
        expect(readFileSync(world.join('blobs', blob.digest.replace(':', '/'))).equals(blob.bytes)).toBe(true)
      await ctr('images', 'rm', '--sync', reference)
      expect(await ctr('content', 'ls', '-q')).toBe('')
      await ctr(...importing, world.join('x.tar'))
      expect(await ctr('images', 'ls', '-q')).toBe(`${reference}\n`)
      expect(rowsOf(await ctr('images', 'check'))[0]?.join(' ')).toMatch(/ complete \(3\/3\) .* true$/)
    })

    test('import under a base name, by digest', async ({ ctr, world }) => {
      const image = await buildImage()
      writeFileSync(world.join('oci.tar'), await ociArchive(image, 'whatever:latest'))
      await ctr(...importing, '--base-name', 'mine/box', '--digests', world.join('oci.tar'))
      const names = (await ctr('images', 'ls', '-q')).trim().split('\n')
      expect(names).toContain(`mine/box@${image.target.digest}`)
    })

    test('a zstd image is imported and runs', async ({ ctr, world }) => {
      const image = await buildImage({ compression: 'zstd' })
      writeFileSync(world.join('oci.tar'), await ociArchive(image, 'example.test/zstd:1'))
      await ctr(...importing, world.join('oci.tar'))
      expect(await ctr('run', '--rm', 'example.test/zstd:1', 'one', 'echo', 'zstd')).toBe('zstd\n')
    })

    test('an archive that is no tar is refused', async ({ ctr, refused, world }) => {
      writeFileSync(world.join('bad.tar'), 'no tar at all'.repeat(200))
      expect(await refused(...importing, world.join('bad.tar'))).toMatch(/^ctr: .*archive\/tar: invalid tar header/m)
      expect(await ctr('images', 'ls', '-q')).toBe('')
    })
  },
  { shared: true },
)
