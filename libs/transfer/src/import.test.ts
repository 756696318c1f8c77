import { ImageImportStream, ImageStore } from '@flotilla/api/containerd/types/transfer/transfer'
import { type Call, status } from '@flotilla/rpc'
import {
  type Blob,
  buildImage,
  type Descriptor,
  descriptorOf,
  dockerArchive,
  indexOf,
  type LayerEntry,
  type TestImage,
  tarOf,
} from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pack } from './any.ts'
import { hearing, sending } from './testing/client-stream.ts'
import { type TransferWorld, transferWorld } from './testing/world.ts'
import { imageImportStream, imageStore } from './types.ts'

let world: TransferWorld
beforeAll(async () => {
  world = await transferWorld()
})
afterAll(() => world?.[Symbol.asyncDispose]())

const image = await buildImage({ scratch: true, layers: [[{ name: 'a', content: 'a' }]], compression: 'none' })
const other = await buildImage({ scratch: true, layers: [[{ name: 'b', content: 'b' }]] })

const fileOf = (blob: Blob): LayerEntry => ({ name: `blobs/${blob.digest.replace(':', '/')}`, content: blob.bytes })

/** An OCI layout whose index names these manifests, with all that they name. */
async function layout(images: readonly TestImage[], manifests: readonly Descriptor[], ...more: LayerEntry[]) {
  const index = indexOf(manifests)
  const blobs = new Map(images.flatMap(({ blobs }) => blobs).map((blob) => [blob.digest, blob]))
  const archive = await tarOf([
    ...[...blobs.values()].map(fileOf),
    { name: 'index.json', content: index.bytes },
    { name: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
    ...more,
  ])
  return { archive, index }
}

/** Imports; answers the names that were told of, in their order. */
async function importing(
  call: Call,
  archive: Buffer,
  store: Parameters<typeof ImageStore.fromPartial>[0],
  source: Parameters<typeof ImageImportStream.fromPartial>[0] = {},
): Promise<string[]> {
  const bytes = await sending(world.streams, call, archive)
  const progress = await hearing(world.streams, call)
  await world.transfer(
    {
      source: pack(imageImportStream, ImageImportStream.fromPartial({ ...source, stream: bytes.id })),
      destination: pack(imageStore, ImageStore.fromPartial(store)),
      options: { progressStream: progress.id },
    },
    call,
  )
  return (await progress.told).filter(({ event }) => event === 'saved').map(({ name }) => name)
}

type Reference = NonNullable<Parameters<typeof ImageStore.fromPartial>[0]['extraReferences']>[number]
const prefix = (name: string, more: Omit<Reference, 'name'> = {}): Reference => ({ name, isPrefix: true, ...more })
const overwrite = { allowOverwrite: true }
const digested = { addDigest: true }
const unlessNamed = { addDigest: true, skipNamedDigest: true }
const whole = (name: string) => ({ 'io.containerd.image.name': name })
const tagged = (tag: string) => ({ 'org.opencontainers.image.ref.name': tag })

/** `@` at the end of a name stands for the manifest's digest. */
interface NamesCase {
  readonly what: string
  readonly annotations?: Record<string, string>
  readonly store?: string
  readonly references?: readonly Reference[]
  readonly saved: readonly string[]
}

const names: readonly NamesCase[] = [
  { what: 'nothing asked for', annotations: whole('r.example/a:1'), saved: [] },
  { what: 'the index alone', annotations: whole('r.example/a:1'), store: 'r.example/all', saved: ['r.example/all'] },
  {
    what: 'further names, for the index',
    references: [{ name: 'r.example/x:1' }, { name: 'r.example/y', addDigest: true }],
    saved: ['r.example/x:1', 'r.example/y@index'],
  },
  {
    what: 'a whole name below the prefix',
    annotations: whole('r.example/a:1'),
    store: 'r.example/a:index',
    references: [prefix('r.example/a')],
    saved: ['r.example/a:index', 'r.example/a:1'],
  },
  {
    what: 'a whole name deeper below the prefix',
    annotations: whole('r.example/a/b@sha256:1'),
    references: [prefix('r.example/a')],
    saved: ['r.example/a/b@sha256:1'],
  },
  {
    what: 'a whole name that only begins like the prefix',
    annotations: whole('r.example/apple:1'),
    references: [prefix('r.example/a')],
    saved: [],
  },
  {
    what: 'the last part of a repository as prefix',
    annotations: whole('docker.io/library/nginx:1'),
    references: [prefix('nginx')],
    saved: ['docker.io/library/nginx:1'],
  },
  {
    what: 'the beginning of the last part as prefix',
    annotations: whole('docker.io/library/nginx-unit:1'),
    references: [prefix('nginx')],
    saved: [],
  },
  {
    what: 'any whole name, where it may overwrite the prefix',
    annotations: whole('r.example/a:1'),
    references: [prefix('unused', overwrite)],
    saved: ['r.example/a:1'],
  },
  {
    what: 'a tag, which goes to the prefix',
    annotations: tagged('thebest'),
    references: [prefix('r.example/a')],
    saved: ['r.example/a:thebest'],
  },
  {
    what: 'a tag and a whole name: the whole name counts, and it is another',
    annotations: { ...whole('r.example/b:1'), ...tagged('1') },
    references: [prefix('r.example/a')],
    saved: [],
  },
  {
    what: 'a whole name in the place of a tag',
    annotations: tagged('r.example/a:1'),
    references: [prefix('r.example/a')],
    saved: ['r.example/a:1'],
  },
  {
    what: 'whole name and digest',
    annotations: whole('r.example/a:1'),
    references: [prefix('r.example/a', digested)],
    saved: ['r.example/a:1', 'r.example/a@'],
  },
  {
    what: 'the digest only of what has no name: it has one',
    annotations: whole('r.example/a:1'),
    references: [prefix('r.example/a', unlessNamed)],
    saved: ['r.example/a:1'],
  },
  { what: 'the digest of what has no name', references: [prefix('imported', unlessNamed)], saved: ['imported@'] },
  {
    what: 'the digest of what has a name of others',
    annotations: whole('r.example/b:1'),
    references: [prefix('r.example/a', unlessNamed)],
    saved: ['r.example/a@'],
  },
  {
    what: 'a name of others that may overwrite, and a digest below the prefix',
    annotations: whole('r.example/b:1'),
    references: [prefix('given', { ...overwrite, ...digested })],
    saved: ['r.example/b:1', 'given@'],
  },
  {
    what: 'a tag and a digest',
    annotations: tagged('latest'),
    references: [prefix('r.example/a', { ...overwrite, ...digested })],
    saved: ['r.example/a:latest', 'r.example/a@'],
  },
  {
    what: 'two prefixes, of which one fits',
    annotations: whole('r.example/b:1'),
    references: [prefix('r.example/a'), prefix('r.example/b')],
    saved: ['r.example/b:1'],
  },
  { what: 'no prefix at all', annotations: tagged('1'), references: [prefix('', overwrite)], saved: [] },
]

describe('names of what an archive holds', () => {
  test.each(names)('$what', async ({ annotations, store = '', references = [], saved }) => {
    const call = world.fresh()
    const named = { ...descriptorOf(image.manifest), ...(annotations ? { annotations } : {}) }
    const { archive, index } = await layout([image], [named])
    const wanted = saved.map((name) =>
      name.endsWith('@') ? `${name}${image.manifest.digest}` : name.replace(/@index$/, `@${index.digest}`),
    )
    const told = await importing(call, archive, { name: store, extraReferences: [...references] })
    expect(told).toEqual(wanted)
    expect(await world.imageNames(call)).toEqual(wanted.toSorted())
    for (const name of wanted) {
      const { target } = (await world.images.get({ name }, call)).image!
      const isIndex = name === store || references.some((one) => !one.isPrefix && name.startsWith(one.name ?? ''))
      const { digest, mediaType, size } = isIndex ? index : image.manifest
      expect(target).toMatchObject({ digest, mediaType, size })
    }
  })

  test('each image of an archive has its own, and labels', async () => {
    const call = world.fresh()
    const manifests = [
      { ...descriptorOf(image.manifest), annotations: tagged('1') },
      { ...descriptorOf(other.manifest), annotations: tagged('2') },
      { ...descriptorOf(other.manifest), annotations: tagged('latest') },
    ]
    const { archive } = await layout([image, other], manifests)
    const told = await importing(call, archive, { labels: { a: 'b' }, extraReferences: [prefix('r.example/a')] })
    expect(told).toEqual(['r.example/a:1', 'r.example/a:2', 'r.example/a:latest'])
    const listed = await world.images.list({ filters: [] }, call)
    for (const { labels } of listed.images) expect(labels).toEqual({ a: 'b' })
  })

  test('an image that had the name has the new content and labels', async () => {
    const call = world.fresh()
    for (const one of [image, other]) {
      const { archive } = await layout([one], [{ ...descriptorOf(one.manifest), annotations: tagged('1') }])
      await importing(call, archive, { labels: { of: one.manifest.digest }, extraReferences: [prefix('r.example/a')] })
      const found = (await world.images.get({ name: 'r.example/a:1' }, call)).image!
      expect(found.target?.digest).toBe(one.manifest.digest)
      expect(found.labels).toEqual({ of: one.manifest.digest })
    }
  })

  test.each([
    ['the same archive', () => dockerArchive(image, 'hello:1')],
    [
      'another that holds the same, and an empty file',
      async () => {
        const { archive } = await layout([image], [descriptorOf(image.manifest)], { name: 'empty', content: '' })
        return archive
      },
    ],
  ])('what is there already is found again: %s', async (_, make) => {
    const call = world.fresh()
    const archive = await make()
    const store = { name: 'index', extraReferences: [prefix('x', { ...overwrite, ...digested })] }
    const first = await importing(call, archive, store)
    const digests = await world.digests(call)
    expect(await importing(call, archive, store)).toEqual(first)
    expect(await world.digests(call)).toEqual(digests)
    expect(await world.ingests(call)).toEqual([])
  })

  test("Docker's familiar names become whole ones", async () => {
    const call = world.fresh()
    const archive = await dockerArchive(image, 'hello:1')
    const told = await importing(call, archive, { extraReferences: [prefix('x', overwrite)] })
    expect(told).toEqual(['docker.io/library/hello:1'])
  })
})

describe('what an import leaves', () => {
  const named = { ...descriptorOf(image.manifest), annotations: whole('r.example/a:1') }
  const asNamed = { extraReferences: [prefix('x', overwrite)] }

  test('is held by the image, and nothing else is', async () => {
    const call = world.fresh()
    const { archive } = await layout([image], [named], { name: 'README', content: 'of no image' })
    await importing(call, archive, { ...asNamed, unpacks: [{ snapshotter: 'overlayfs' }] })
    await world.collect(call)
    expect(await world.digests(call)).toEqual(image.blobs.map(({ digest }) => digest).sort())
    expect(await world.snapshotNames(call)).toEqual([image.layers[0]?.diffId])
    expect([await world.leaseIds(call), await world.ingests(call)]).toEqual([[], []])
    await world.images.delete({ name: 'r.example/a:1', sync: true }, call)
    expect([await world.digests(call), await world.snapshotNames(call)]).toEqual([[], []])
  })

  test.each([
    [
      'of no layout',
      () => tarOf([{ name: 'a', content: 'b' }]),
      status.FAILED_PRECONDITION,
      /unrecognized image format/,
    ],
    [
      'of another version',
      () => tarOf([{ name: 'oci-layout', content: '{"imageLayoutVersion":"2.0.0"}' }]),
      status.FAILED_PRECONDITION,
      /unsupported OCI version "2.0.0"/,
    ],
    [
      'without an index',
      () => tarOf([{ name: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' }]),
      status.FAILED_PRECONDITION,
      /missing index.json/,
    ],
    [
      'without a manifest that its index names',
      async () => (await layout([], [named])).archive,
      status.NOT_FOUND,
      new RegExp(`${image.manifest.digest}: not found`),
    ],
    [
      'that is cut off',
      async () => (await layout([image], [named])).archive.subarray(0, 1500),
      status.INVALID_ARGUMENT,
      /archive cannot be read/,
    ],
  ])('an archive %s is refused, and nothing of it stays', async (_, make, code, message) => {
    const call = world.fresh()
    const wanted = { code, message: expect.stringMatching(message) }
    await expect(importing(call, await make(), asNamed)).rejects.toMatchObject(wanted)
    expect([await world.imageNames(call), await world.leaseIds(call)]).toEqual([[], []])
    await world.collect(call)
    expect(await world.digests(call)).toEqual([])
  })

  test.each(['gzip', 'none'] as const)(
    'layers that come as %s are compressed when that is asked for',
    async (compression) => {
      const call = world.fresh()
      const made = await buildImage({
        scratch: true,
        compression,
        layers: [[{ name: 'c', content: 'c'.repeat(9000) }]],
      })
      const layer = made.layers[0]!
      await importing(call, await dockerArchive(made, 'c:1'), asNamed, { forceCompress: true })
      const found = (await world.images.get({ name: 'docker.io/library/c:1' }, call)).image!
      const [manifest] = await Array.fromAsync(
        world.content.read({ digest: found.target?.digest ?? '', offset: 0, size: 0 }, call),
      )
      const [described] = JSON.parse(Buffer.from(manifest!.data).toString()).layers
      expect(described.mediaType).toBe('application/vnd.docker.image.rootfs.diff.tar.gzip')
      if (compression === 'gzip') expect(described.digest).toBe(layer.digest)
      else expect(described.digest).not.toBe(layer.digest)
      const { info } = await world.content.info({ digest: described.digest }, call)
      expect(info?.size).toBe(described.size)
      expect(info?.size).toBeLessThan(9000)
      if (compression === 'none') expect(info?.labels['containerd.io/uncompressed']).toBe(layer.diffId)
    },
  )
})
