import { writeFileSync } from 'node:fs'
import {
  type Blob,
  blobOf,
  buildImage,
  descriptorOf,
  indexOf,
  jsonBlob,
  ociArchive,
  startFaultyRegistry,
  type TestImage,
} from '@flotilla/testing'
import { expect } from 'vitest'
import { lastLine } from '../harness/output.ts'
import { suite } from '../harness/suite.ts'
import { expectNothingLeft } from './nothing-left.ts'

const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const name = 'bad.test/manifest:1'
const indexType = 'application/vnd.oci.image.index.v1+json'

const image = await buildImage({ scratch: true, layers: [[{ name: 'hello', content: 'hello\n' }]] })
const parts = JSON.parse(image.manifest.bytes.toString()) as Record<string, unknown>
const manifest = (changes: object) => jsonBlob(manifestType, { ...parts, ...changes })
const absent = { mediaType: manifestType, digest: `sha256:${'a'.repeat(64)}`, size: 5 }
const config = (changes: object): Blob[] => {
  const made = jsonBlob(image.config.mediaType, { ...JSON.parse(image.config.bytes.toString()), ...changes })
  return [made, manifest({ config: descriptorOf(made) })]
}

interface Bad {
  readonly what: string
  /** The last is what the tag names. */
  readonly blobs: readonly Blob[]
  readonly says: RegExp
}

const bad: readonly Bad[] = [
  {
    what: 'that is not JSON',
    blobs: [blobOf(manifestType, Buffer.from('not json at all'))],
    says: /invalid character/,
  },
  {
    what: 'that ends early',
    blobs: [blobOf(manifestType, image.manifest.bytes.subarray(0, 100))],
    says: /unexpected e/,
  },
  { what: 'of nothing', blobs: [jsonBlob(manifestType, {})], says: /./ },
  { what: 'that is a list', blobs: [jsonBlob(manifestType, [1, 2])], says: /cannot unmarshal array/ },
  {
    what: 'that is an index and a manifest at once',
    blobs: [jsonBlob(manifestType, { ...parts, manifests: [absent] })],
    says: /not.?found|expected manifest but found index|invalid|both/,
  },
  { what: 'of an unknown type', blobs: [jsonBlob('application/x-ship+json', parts)], says: /./ },
  { what: 'whose config is not there', blobs: [manifest({ config: absent })], says: /not found/ },
  { what: 'whose layer is not there', blobs: [manifest({ layers: [absent] })], says: /not found/ },
  {
    what: 'whose layer has no digest',
    blobs: [
      manifest({ layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: 'no', size: 3 }] }),
    ],
    says: /invalid checksum digest format|failed validation|not found/,
  },
  {
    what: 'whose layer has a digest with .. in it',
    blobs: [manifest({ layers: [{ mediaType: manifestType, digest: 'sha256:../../../../etc/passwd', size: 3 }] })],
    says: /./,
  },
  {
    what: 'whose layer is of an unknown type',
    blobs: [manifest({ layers: image.layers.map((layer) => ({ ...descriptorOf(layer), mediaType: 'text/plain' })) })],
    says: /no processor for media-type|mismatched|unsupported/,
  },
  {
    what: 'whose layer is larger than it says',
    blobs: [manifest({ layers: image.layers.map((layer) => ({ ...descriptorOf(layer), size: layer.size - 1 })) })],
    says: /failed size validation|size/,
  },
  { what: 'with fewer layers than its config', blobs: [manifest({ layers: [] })], says: /mismatched/ },
  { what: 'with a config that names no layer', blobs: config({ rootfs: {} }), says: /mismatched/ },
  {
    what: 'with a config that is not JSON',
    blobs: ((made: Blob) => [made, manifest({ config: descriptorOf(made) })])(
      blobOf(image.config.mediaType, Buffer.from('{"rootfs":')),
    ),
    says: /unexpected e|invalid/,
  },
  { what: 'that is an index of nothing', blobs: [indexOf([])], says: /no match for platform|not found/ },
  { what: 'that is an index of what is not there', blobs: [indexOf([absent])], says: /not found/ },
  {
    what: 'that is an index which is not JSON',
    blobs: [blobOf(indexType, Buffer.from('{'))],
    says: /unexpected e|invalid/,
  },
]

/** A manifest that nobody should read into memory. */
const tooLarge = jsonBlob(manifestType, { ...parts, annotations: { padding: 'x'.repeat(33 * 1024 * 1024) } })

suite(
  'a manifest',
  ({ test, version }) => {
    for (const { what, blobs, says } of bad)
      test(`${what}: the pull is refused, and nothing of it is left`, async (fixture) => {
        await using registry = await startFaultyRegistry()
        registry.add('usual:1', image)
        for (const blob of blobs) registry.addBlob(blob)
        const reference = registry.tag('bad/manifest:1', blobs.at(-1) as Blob)
        expect(await fixture.refused(...fixture.local('pull', '--plain-http', reference))).toMatch(says)
        await expectNothingLeft(fixture, { images: [reference] })
      })

    for (const { what, blobs } of bad)
      test(`${what}: what is imported does not run, and nothing of it is left`, async (fixture) => {
        const target = blobs.at(-1) as Blob
        const hostile: TestImage = { ...image, target, blobs: [...image.blobs, ...blobs] }
        writeFileSync(fixture.world.join('bad.tar'), await ociArchive(hostile, name))
        const local = version.name === '2.1' ? ['--local'] : []
        const imported = await fixture.run(['images', 'import', ...local, fixture.world.join('bad.tar')])
        // Which of them an import looks at differs from one ctr to the next.
        const failed = imported.code === 0 ? await fixture.refused('run', '--rm', name, 'bad', 'true') : imported.stderr
        expect(lastLine(failed)).toMatch(/^ctr: .+/)
        await expectNothingLeft(fixture, { images: [name] })
      })

    test('too large to be one: the pull is refused, and nothing of it is left', async (fixture) => {
      await using registry = await startFaultyRegistry()
      registry.add('usual:1', image)
      const reference = registry.tag('bad/large:1', tooLarge)
      expect(await fixture.refused(...fixture.local('pull', '--plain-http', reference))).toMatch(
        /rejecting \d+ byte manifest/,
      )
      await expectNothingLeft(fixture, { images: [reference] })
    })
  },
  { versions: ['1.6', '2.1'] },
)
