import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Blob,
  buildImage,
  descriptorOf,
  dockerArchive,
  indexOf,
  ociArchive,
  outsideAddress,
  pushImage,
  type RegistryOptions,
  startRegistry,
  type TempWorld,
  type TestImage,
  type TestRegistry,
} from '@flotilla/testing'
import { expect } from 'vitest'
import { rowsOf } from '../harness/output.ts'
import { sharedImage } from '../harness/shared-image.ts'
import { suite } from '../harness/suite.ts'

// ctr 2.1 as it is: the daemon moves the images.

const small = await buildImage({ scratch: true, layers: [[{ name: 'hello', content: 'hello\n' }]] })

/** A directory of `hosts.toml` files, as `--hosts-dir` wants it. */
function hostsDir(world: TempWorld, registry: TestRegistry): string {
  const dir = world.join('hosts')
  mkdirSync(`${dir}/${registry.host}`, { recursive: true })
  writeFileSync(
    `${dir}/${registry.host}/hosts.toml`,
    `server = "${registry.url}"\n[host."${registry.url}"]\n  capabilities = ["pull", "resolve", "push"]\n` +
      `  ca = "${registry.caFile}"\n`,
  )
  return dir
}

/** An image of two platforms: this machine's, and one that it is not. */
async function twoPlatforms(): Promise<TestImage & { readonly other: TestImage; readonly platform: string }> {
  const mine = await buildImage({ scratch: true, layers: [[{ name: 'mine', content: 'mine\n' }]] })
  const base = await buildImage({ scratch: true, layers: [[{ name: 'other', content: 'other\n' }]] })
  const config = rewritten(base.config, (text) => text.replace(/"architecture":"\w+"/, '"architecture":"s390x"'))
  const manifest = rewritten(base.manifest, (text) =>
    text.replace(base.config.digest, config.digest).replace(`"size":${base.config.size}`, `"size":${config.size}`),
  )
  const other = { ...base, config, manifest, target: manifest, blobs: [...base.layers, config, manifest] }
  const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'
  const index = indexOf([
    { ...descriptorOf(manifest), platform: { architecture: 's390x', os: 'linux' } },
    { ...descriptorOf(mine.manifest), platform: { architecture, os: 'linux' } },
  ])
  return { ...mine, index, target: index, blobs: [...mine.blobs, index], other, platform: `linux/${architecture}` }
}

function rewritten(blob: Blob, change: (text: string) => string): Blob {
  const bytes = Buffer.from(change(blob.bytes.toString()))
  const digest = `sha256:${execFileSync('sha256sum', { input: bytes, encoding: 'utf8' }).slice(0, 64)}`
  return { ...blob, bytes, digest, size: bytes.length }
}

const digests = (...blobs: ReadonlyArray<{ readonly digest: string }>) => blobs.map(({ digest }) => digest).sort()
const lines = (text: string) => text.split('\n').filter((line) => line !== '')

// ctr draws no more once its call is answered, and on a busy machine has not drawn the last of what it was told by then:
// that something is saved or completed is for the tests of libs/transfer.
suite(
  'transfer',
  ({ test }) => {
    test('pull fetches, unpacks, shows its parts as a tree, and the image runs', async ({ ctr }) => {
      const { reference, image } = await sharedImage()
      const printed = await ctr('images', 'pull', '--plain-http', reference)
      const short = (digest: string) => digest.slice('sha256:'.length).slice(0, 12)
      for (const [kind, blob] of [
        ['index', image.target],
        ['manifest', image.manifest],
        ['config', image.config],
        ['layer', image.layers[0]],
      ] as const)
        expect(printed).toMatch(new RegExp(`└──.*${kind} \\(${short(blob?.digest ?? '')}\\)`))
      expect(printed).toContain(`${image.target.mediaType} ${image.target.digest}`)
      expect(lines(await ctr('content', 'ls', '-q')).sort()).toEqual(digests(...image.blobs))
      expect(rowsOf(await ctr('images', 'check'))[0]?.join(' ')).toMatch(/ complete \(3\/3\) .* true$/)
      expect(await ctr('leases', 'ls', '-q')).toBe('')
      expect(await ctr('run', '--rm', reference, 'one', 'cat', '/etc/motd')).toBe('hello from a layer\n')
    })

    test('labels keep all of a pulled image, and removing the image removes all of it', async ({ ctr }) => {
      const { reference, image, bottom } = await sharedImage()
      await ctr('images', 'pull', '--plain-http', '--label', 'a=b', reference)
      expect(rowsOf(await ctr('images', 'ls'))[0]?.at(-1)).toBe('a=b')
      const labelled = await ctr('content', 'ls')
      const line = (digest: string) => lines(labelled).find((one) => one.startsWith(digest)) ?? ''
      expect(line(image.target.digest)).toContain(`containerd.io/gc.ref.content.m.0=${image.manifest.digest}`)
      expect(line(image.manifest.digest)).toContain(`containerd.io/gc.ref.content.config=${image.config.digest}`)
      expect(line(image.manifest.digest)).toContain(`containerd.io/gc.ref.content.l.0=${bottom.digest}`)
      expect(line(image.config.digest)).toContain('containerd.io/gc.ref.snapshot.overlayfs=sha256:')
      expect(line(bottom.digest)).toContain(`containerd.io/uncompressed=${bottom.diffId}`)
      for (const blob of image.blobs) expect(line(blob.digest)).toContain('containerd.io/distribution.source.')
      await ctr('images', 'rm', '--sync', reference)
      expect(await ctr('content', 'ls', '-q')).toBe('')
      expect(rowsOf(await ctr('snapshots', 'ls'))).toEqual([])
    })

    test('pulling again finds everything there', async ({ ctr }) => {
      const { reference } = await sharedImage()
      await ctr('images', 'pull', '--plain-http', reference)
      const printed = await ctr('images', 'pull', '--plain-http', reference)
      expect(printed).toMatch(/manifest \(\w+\)\s+already exists/)
      expect(await ctr('images', 'ls', '-q')).toBe(`${reference}\n`)
    })

    const tls = { tls: true, address: outsideAddress() }
    const kinds: ReadonlyArray<readonly [string, RegistryOptions]> = [
      ['plain HTTP', {}],
      ['plain HTTP with basic auth', { auth: 'basic' }],
      ['plain HTTP with token auth', { auth: 'token' }],
      ['TLS', tls],
      ['TLS with basic auth', { ...tls, auth: 'basic' }],
    ]
    for (const [name, options] of kinds)
      test(`pull from and push to a registry over ${name}`, async ({ ctr, refused, world }) => {
        await using registry = await startRegistry(options)
        const reference = await pushImage(registry, 'some/hello:1', small)
        const transport = options.tls ? ['--hosts-dir', hostsDir(world, registry)] : ['--plain-http']
        const user = options.auth ? ['--user', `${registry.username}:${registry.password}`] : []
        if (options.auth) {
          for (const wrong of [[], ['--user', 'skipper:wrong']])
            expect(await refused('images', 'pull', ...transport, ...wrong, reference)).toMatch(
              /unauthorized|401|authorization failed/i,
            )
          expect(await ctr('images', 'ls', '-q')).toBe('')
        }
        await ctr('images', 'pull', ...transport, ...user, reference)
        expect(await ctr('images', 'ls', '-q')).toBe(`${reference}\n`)
        expect(await ctr('content', 'get', small.config.digest)).toBe(small.config.bytes.toString())
        await ctr('images', 'tag', reference, `${registry.host}/other/hello:2`)
        const printed = await ctr('images', 'push', ...transport, ...user, `${registry.host}/other/hello:2`)
        expect(printed).toMatch(/other\/hello:2\s+push(ing|ed) content/)
        const headers = { accept: small.manifest.mediaType }
        const there = await registry.request('/v2/other/hello/manifests/2', { headers })
        expect(there.body.equals(small.manifest.bytes)).toBe(true)
      })

    test('what a registry lacks is named', async ({ refused }) => {
      const { registry } = await sharedImage()
      expect(await refused('images', 'pull', '--plain-http', `${registry.host}/no/such:1`)).toMatch(
        /failed to resolve image: .*not found/,
      )
      expect(await refused('images', 'push', '--plain-http', `${registry.host}/no/such:1`)).toMatch(
        new RegExp(`image "${registry.host}/no/such:1": not found`),
      )
    })

    test('one platform of several is fetched, with what describes the others', async ({ ctr }) => {
      const image = await twoPlatforms()
      const { registry } = await sharedImage()
      await pushImage(registry, 'two:1', image.other)
      const reference = await pushImage(registry, 'two:1', image)
      const described = [image.target, image.manifest, image.config, image.other.manifest, image.other.config]
      await ctr('images', 'pull', '--plain-http', reference)
      expect(lines(await ctr('content', 'ls', '-q')).sort()).toEqual(digests(...described, ...image.layers))
      await ctr('images', 'rm', '--sync', reference)
      await ctr('images', 'pull', '--plain-http', '--skip-metadata', '--platform', image.platform, reference)
      expect(lines(await ctr('content', 'ls', '-q')).sort()).toEqual(
        digests(image.target, image.manifest, image.config, ...image.layers),
      )
      await ctr('images', 'pull', '--plain-http', '--all-platforms', reference)
      expect(lines(await ctr('content', 'ls', '-q')).sort()).toEqual(
        digests(...described, ...image.layers, ...image.other.layers),
      )
    })

    test('tag gives another name, replacing what had it', async ({ ctr, refused }) => {
      const { reference } = await sharedImage()
      await ctr('images', 'pull', '--plain-http', reference)
      expect(await ctr('images', 'tag', reference, 'some/other:1')).toBe('some/other:1\n')
      expect(lines(await ctr('images', 'ls', '-q'))).toEqual([reference, 'some/other:1'])
      expect(await refused('images', 'tag', 'no/such:1', 'some/other:2')).toContain('image "no/such:1": not found')
    })

    test('an OCI archive is imported, unpacked and runs', async ({ ctr, world }) => {
      const image = await buildImage({ index: true })
      writeFileSync(world.join('oci.tar'), await ociArchive(image, 'example.test/box:2'))
      await ctr('images', 'import', world.join('oci.tar'))
      expect(rowsOf(await ctr('images', 'ls'))[0]?.slice(0, 3)).toEqual([
        'example.test/box:2',
        image.target.mediaType,
        image.target.digest,
      ])
      expect(await ctr('run', '--rm', 'example.test/box:2', 'one', 'echo', 'imported')).toBe('imported\n')
    })

    test('a compressed Docker archive is imported and runs', async ({ ctr, world }) => {
      const image = await buildImage({ compression: 'none', layers: [[{ name: 'hello', content: 'from docker\n' }]] })
      writeFileSync(world.join('docker.tar'), await dockerArchive(image, 'example.test/box:3'))
      execFileSync('gzip', [world.join('docker.tar')])
      await ctr('images', 'import', world.join('docker.tar.gz'))
      expect(await ctr('images', 'ls', '-q')).toBe('example.test/box:3\n')
      expect(await ctr('run', '--rm', 'example.test/box:3', 'one', 'cat', '/hello')).toBe('from docker\n')
    })

    test('import under a base name, by digest', async ({ ctr, world }) => {
      const image = await buildImage()
      writeFileSync(world.join('oci.tar'), await ociArchive(image, 'whatever:latest'))
      await ctr('images', 'import', '--base-name', 'mine/box', '--digests', world.join('oci.tar'))
      expect(lines(await ctr('images', 'ls', '-q'))).toContain(`mine/box@${image.target.digest}`)
    })

    test('what is no archive is refused and leaves nothing', async ({ ctr, refused, world }) => {
      writeFileSync(world.join('text.tar'), 'this is no archive, however long it may be\n'.repeat(100))
      await refused('images', 'import', world.join('text.tar'))
      expect(await ctr('images', 'ls', '-q')).toBe('')
      expect(await ctr('leases', 'ls', '-q')).toBe('')
    })

    test('content that is damaged on disk is not exported', async ({ ctr, refused, system, world }) => {
      const image = await buildImage({ scratch: true, layers: [[{ name: 'of', content: `${world.path}\n` }]] })
      writeFileSync(world.join('in.tar'), await ociArchive(image, 'example.test/damaged:1'))
      await ctr('images', 'import', '--no-unpack', world.join('in.tar'))
      const [name = ''] = (await ctr('images', 'ls', '-q')).split('\n')
      const [layer] = image.layers
      if (layer === undefined) throw new Error('the image has no layer')
      const blob = join(system.root, 'io.containerd.content.v1.content/blobs', layer.digest.replace(':', '/'))
      const damaged = Buffer.alloc(layer.size, 7)
      writeFileSync(blob, damaged)
      const found = createHash('sha256').update(damaged).digest('hex')
      const said = await refused('images', 'export', world.join('x.tar'), name)
      expect(said).toContain(`unexpected digest sha256:${found} copied`)
    })

    test('what is exported is whole, and comes back with all its digests', async ({ ctr, world }) => {
      const { image, reference } = await sharedImage()
      await ctr('images', 'pull', '--plain-http', reference)
      await ctr('images', 'export', world.join('x.tar'), reference)
      execFileSync('tar', ['-xf', world.join('x.tar'), '-C', world.path])
      for (const blob of image.blobs)
        expect(readFileSync(world.join('blobs', blob.digest.replace(':', '/'))).equals(blob.bytes)).toBe(true)
      expect(JSON.parse(readFileSync(world.join('manifest.json'), 'utf8'))).toEqual([
        {
          Config: `blobs/${image.config.digest.replace(':', '/')}`,
          RepoTags: [reference],
          Layers: image.layers.map((layer) => `blobs/${layer.digest.replace(':', '/')}`),
        },
      ])
      await ctr('images', 'rm', '--sync', reference)
      expect(await ctr('content', 'ls', '-q')).toBe('')
      await ctr('images', 'import', world.join('x.tar'))
      expect(await ctr('images', 'ls', '-q')).toBe(`${reference}\n`)
      expect(rowsOf(await ctr('images', 'check'))[0]?.join(' ')).toMatch(/ complete \(3\/3\) .* true$/)
    })
  },
  { versions: ['2.1'], shared: true },
)
