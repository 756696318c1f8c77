import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { expect } from 'vitest'
import { labelsOf, rowsOf } from '../harness/output.ts'
import { sharedImage } from '../harness/shared-image.ts'
import { suite } from '../harness/suite.ts'

suite(
  'images',
  ({ test, version }) => {
    const since17 = version.name !== '1.6'
    const here = version.name === '2.1' ? ['--local'] : []
    const tag = ['images', 'tag', ...here]

    test('pull fetches every blob, unpacks and says so', async ({ ctr, local }) => {
      const { reference, image } = await sharedImage()
      const printed = await ctr(...local('pull', '--plain-http', reference))
      expect(printed).toContain(`${reference}:`)
      for (const layer of image.layers) expect(printed).toMatch(new RegExp(`layer-${layer.digest}: +done`))
      expect(printed).toMatch(new RegExp(`unpacking linux/\\w+ ${image.target.digest}\\.\\.\\.\ndone: \\S+\t\n$`))
      expect((await ctr('content', 'ls', '-q')).trim().split('\n').sort()).toEqual(
        image.blobs.map((blob) => blob.digest).sort(),
      )
    })

    test('pulling again finds everything there', async ({ ctr, pull, local }) => {
      const reference = await pull()
      expect(await ctr(...local('pull', '--plain-http', reference))).toMatch(/layer-sha256:\w+: +(exists|done) /)
    })

    test('list shows name, type, digest, size, platform, labels', async ({ ctr, pull }) => {
      const reference = await pull()
      const { image } = await sharedImage()
      const printed = await ctr('images', 'ls')
      expect(printed).toMatch(/^REF +TYPE +DIGEST +SIZE +PLATFORMS +LABELS *\n/)
      const platform = process.arch === 'arm64' ? 'linux/arm64' : 'linux/amd64'
      expect(rowsOf(printed)).toEqual([
        [reference, image.target.mediaType, image.target.digest, '1.0', 'MiB', platform, '-'],
      ])
      expect(await ctr('images', 'ls', '-q')).toBe(`${reference}\n`)
      expect(await ctr('images', 'ls', '-q', `name==${reference}`)).toBe(`${reference}\n`)
      expect(await ctr('images', 'ls', '-q', 'name==other')).toBe('')
    })

    test('check says that it is complete and unpacked', async ({ ctr, pull }) => {
      const reference = await pull()
      const printed = await ctr('images', 'check')
      expect(printed).toMatch(/^REF +TYPE +DIGEST +STATUS +SIZE +UNPACKED *\n/)
      const row = rowsOf(printed)[0]?.join(' ')
      expect(row).toContain(`${reference} `)
      expect(row).toMatch(/ complete \(3\/3\) 1\.0 MiB\/1\.0 MiB true$/)
      expect(await ctr('images', 'check', '-q')).toBe(`${reference}\n`)
    })

    test('check says what is missing', async ({ ctr, pull }) => {
      await pull()
      const { top } = await sharedImage()
      await ctr('content', 'rm', top.digest)
      expect(rowsOf(await ctr('images', 'check'))[0]?.join(' ')).toMatch(/ incomplete \(2\/3\) /)
    })

    test('tag gives another name, and an existing one is refused', async ({ ctr, run, pull }) => {
      const reference = await pull()
      expect(await ctr(...tag, reference, 'some/other:1')).toBe('some/other:1\n')
      expect((await ctr('images', 'ls', '-q')).trim().split('\n')).toEqual([reference, 'some/other:1'])
      const again = await run([...tag, reference, 'some/other:1'])
      expect(again).toMatchObject({ code: 1, stderr: 'ctr: image "some/other:1": already exists\n' })
      expect(await ctr(...tag, '--force', reference, 'some/other:1')).toBe('some/other:1\n')
    })

    test('label sets, replaces and removes', async ({ ctr, pull }) => {
      const reference = await pull()
      expect(labelsOf(await ctr('images', 'label', reference, 'a=b', 'c=d'))).toEqual({ a: 'b', c: 'd' })
      expect(labelsOf(await ctr('images', 'label', reference, 'a='))).toEqual({ c: 'd' })
      expect(labelsOf(await ctr('images', 'label', '--replace-all', reference, 'e=f'))).toEqual({ e: 'f' })
      expect(rowsOf(await ctr('images', 'ls'))[0]?.at(-1)).toBe('e=f')
    })

    if (since17)
      test('usage shows each layer, the top one first', async ({ ctr, pull }) => {
        const printed = await ctr('images', 'usage', await pull())
        expect(printed).toMatch(/^KEY +SIZE +INODES *\n/)
        const rows = rowsOf(printed)
        expect(rows.map((row) => row[0])).toEqual([
          expect.stringMatching(/^sha256:/),
          expect.stringMatching(/^sha256:/),
        ])
        expect(rows[0]?.slice(1)).toEqual(['4.0', 'KiB', '3'])
        expect(rows[1]?.slice(1, 3)).toEqual(['1.9', 'MiB'])
      })

    test('mount shows the files, unmount --rm takes the snapshot away', async ({ ctr, pull, world }) => {
      const reference = await pull()
      const target = world.join('mounted')
      mkdirSync(target)
      expect(await ctr('images', 'mount', reference, target)).toMatch(/^(sha256:[0-9a-f]{64}\n)?\S+mounted\n$/)
      expect(readFileSync(`${target}/etc/motd`, 'utf8')).toBe('hello from a layer\n')
      expect(rowsOf(await ctr('snapshots', 'ls')).filter((row) => row.at(-1) !== 'Committed')).toHaveLength(1)
      expect(await ctr('images', 'unmount', '--rm', target)).toBe(`${target}\n`)
      expect(existsSync(`${target}/etc`)).toBe(false)
      expect(rowsOf(await ctr('snapshots', 'ls')).filter((row) => row.at(-1) !== 'Committed')).toHaveLength(0)
    })

    test('mount --rw takes changes', async ({ ctr, pull, world, system }) => {
      const target = world.join('mounted')
      mkdirSync(target)
      expect(system.kind).toBeTruthy()
      await ctr('images', 'mount', '--rw', await pull(), target)
      readFileSync(`${target}/etc/motd`)
      mkdirSync(`${target}/new`)
      await ctr('images', 'unmount', '--rm', target)
    })

    test('push puts it into the registry under another name', async ({ ctr, pull, local }) => {
      const reference = await pull()
      const { registry, image } = await sharedImage()
      const copy = `${registry.host}/copies/by-${version.name}:1`
      const printed = await ctr(...local('push', '--plain-http', copy, reference))
      expect(printed).toMatch(new RegExp(`manifest-${image.manifest.digest}: +done`))
      const accept = { accept: image.target.mediaType }
      const there = await registry.request(`/v2/copies/by-${version.name}/manifests/1`, { headers: accept })
      expect(there.body.equals(image.target.bytes)).toBe(true)
      for (const layer of image.layers)
        expect((await registry.request(`/v2/copies/by-${version.name}/blobs/${layer.digest}`)).status).toBe(200)
    })

    test('rm takes names away, and --sync what they kept', async ({ ctr, run, pull }) => {
      const reference = await pull()
      await ctr(...tag, reference, 'some/other:1')
      expect(await ctr('images', 'rm', '--sync', 'some/other:1')).toBe('some/other:1\n')
      expect(await ctr('content', 'ls', '-q')).not.toBe('')
      expect(await ctr('images', 'rm', '--sync', reference)).toBe(`${reference}\n`)
      expect(await ctr('content', 'ls', '-q')).toBe('')
      expect(rowsOf(await ctr('snapshots', 'ls'))).toEqual([])
      const missing = await run(['images', 'rm', 'nothere'])
      expect(missing).toMatchObject({
        code: 0,
        stdout: '',
        stderr: expect.stringContaining('nothere: image not found'),
      })
    })

    test('names that are not there are named', async ({ refused, world }) => {
      expect(await refused('images', 'export', ...here, world.join('x.tar'), 'nothere')).toBe(
        'ctr: image "nothere": not found\n',
      )
      expect(await refused('images', 'label', 'nothere', 'a=b')).toBe('ctr: image "nothere": not found\n')
    })

    if (version.name === '2.1')
      test('inspect shows the tree of blobs', async ({ ctr, pull }) => {
        const printed = await ctr('images', 'inspect', await pull())
        const { image } = await sharedImage()
        for (const blob of image.blobs)
          expect(printed).toContain(`${blob.mediaType} @${blob.digest} (${blob.size} bytes)`)
      })
  },
  { shared: true },
)
