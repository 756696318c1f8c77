import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ImageExportStream, ImageImportStream, ImageStore } from '@flotilla/api/containerd/types/transfer/transfer'
import { type Call, status } from '@flotilla/rpc'
import { buildImage, descriptorOf, digestOf, indexOf, ociArchive, type TestImage } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pack } from './any.ts'
import { hearing, receiving, sending } from './testing/client-stream.ts'
import { type TransferWorld, transferWorld } from './testing/world.ts'
import { imageExportStream, imageImportStream, imageStore } from './types.ts'

let world: TransferWorld
beforeAll(async () => {
  world = await transferWorld()
})
afterAll(() => world?.[Symbol.asyncDispose]())

type Export = Parameters<typeof ImageExportStream.fromPartial>[0]
type Store = Parameters<typeof ImageStore.fromPartial>[0]

const name = 'docker.io/library/two:1'
const platform = (architecture: string) => ({ os: 'linux', architecture })
const own = platform(process.arch === 'arm64' ? 'arm64' : 'amd64')
const foreign = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'

const mine = await buildImage({ scratch: true, layers: [[{ name: 'mine', content: 'mine' }]] })
const other = await buildImage({ scratch: true, layers: [[{ name: 'other', content: 'other' }]] })
const index = indexOf([
  { ...descriptorOf(other.manifest), platform: platform('s390x') },
  { ...descriptorOf(mine.manifest), platform: own },
])
const both: TestImage = { ...mine, index, target: index, blobs: [...mine.blobs, ...other.blobs, index] }

async function importing(call: Call, image: TestImage, as: string) {
  const { id } = await sending(world.streams, call, await ociArchive(image, as))
  const source = pack(imageImportStream, ImageImportStream.fromPartial({ stream: id }))
  const extraReferences = [{ name: 'x', isPrefix: true, allowOverwrite: true }]
  const destination = pack(imageStore, ImageStore.fromPartial({ extraReferences }))
  await world.transfer({ source, destination, options: undefined }, call)
}

/** Exports; answers the files of the archive by path. */
async function exporting(call: Call, store: Store, options: Export = {}): Promise<Map<string, Buffer>> {
  const to = await receiving(world.streams, call)
  const progress = await hearing(world.streams, call)
  await world.transfer(
    {
      source: pack(imageStore, ImageStore.fromPartial(store)),
      destination: pack(imageExportStream, ImageExportStream.fromPartial({ ...options, stream: to.id })),
      options: { progressStream: progress.id },
    },
    call,
  )
  expect((await progress.told).map(({ event }) => event)).toEqual(['Exporting', 'Completed export'])
  const directory = world.join(to.id)
  mkdirSync(directory)
  // A tar that others can read.
  execFileSync('tar', ['-x', '-C', directory], { input: await to.bytes })
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name)
      return [path.slice(directory.length + 1), readFileSync(path)]
    }),
  )
}

const blobsOf = (files: Map<string, Buffer>) =>
  [...files.keys()]
    .filter((path) => path.startsWith('blobs/'))
    .map((path) => path.slice(6).replace('/', ':'))
    .sort()
const digestsOf = (blobs: readonly { digest: string }[]) => [...new Set(blobs.map(({ digest }) => digest))].sort()
const json = (files: Map<string, Buffer>, path: string) => JSON.parse(String(files.get(path)))

describe('an export', () => {
  test.each<[string, Export, readonly { digest: string }[], TestImage]>([
    ['of this machine', {}, [...mine.blobs, index], mine],
    ['named', { platforms: [platform('s390x')] }, [...other.blobs, index], other],
    ['in order', { platforms: [platform('s390x'), own] }, both.blobs, other],
    ['all of them', { allPlatforms: true }, both.blobs, mine],
  ])('holds the platform that is wanted: %s', async (_, options, blobs, forDocker) => {
    const call = world.fresh()
    await importing(call, both, name)
    const files = await exporting(call, { name }, options)
    expect(blobsOf(files)).toEqual(digestsOf(blobs))
    for (const blob of both.blobs) {
      const found = files.get(`blobs/${blob.digest.replace(':', '/')}`)
      if (found) expect(found.equals(blob.bytes)).toBe(true)
    }
    expect(json(files, 'oci-layout')).toEqual({ imageLayoutVersion: '1.0.0' })
    expect(json(files, 'index.json')).toMatchObject({ schemaVersion: 2, mediaType: index.mediaType })
    expect(json(files, 'index.json').manifests).toMatchObject([
      {
        digest: index.digest,
        size: index.size,
        mediaType: index.mediaType,
        annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': '1' },
      },
    ])
    const path = ({ digest }: { digest: string }) => `blobs/${digest.replace(':', '/')}`
    expect(json(files, 'manifest.json')).toEqual([
      { Config: path(forDocker.config), RepoTags: ['two:1'], Layers: forDocker.layers.map(path) },
    ])
  })

  test('of several images names each, and shares what they have in common', async () => {
    const call = world.fresh()
    await importing(call, mine, name)
    await importing(call, mine, 'r.example/again:2')
    await importing(call, other, 'r.example/other@3')
    const extraReferences = [{ name: 'r.example/again:2' }, { name: 'r.example/other@3' }]
    const files = await exporting(call, { name, extraReferences })
    expect(blobsOf(files)).toEqual(digestsOf([...mine.blobs, ...other.blobs]))
    const named = json(files, 'index.json').manifests.map((one: { annotations: Record<string, string> }) => [
      one.annotations['io.containerd.image.name'],
      one.annotations['org.opencontainers.image.ref.name'],
    ])
    expect(named).toEqual([
      [name, '1'],
      ['r.example/again:2', '2'],
      ['r.example/other@3', '@3'],
    ])
    const tags = json(files, 'manifest.json').map(({ RepoTags }: { RepoTags: string[] }) => RepoTags)
    expect(tags).toEqual([['two:1', 'r.example/again:2'], ['r.example/other@3']])
  })

  test("leaves out Docker's list, and what must not be passed on, when that is wanted", async () => {
    const call = world.fresh()
    const secret = await buildImage({ scratch: true, layers: [[{ name: 's', content: 'secret' }]] })
    const text = secret.manifest.bytes.toString().replace(secret.layers[0]?.mediaType ?? '', foreign)
    const bytes = Buffer.from(text)
    const manifest = { ...secret.manifest, bytes, digest: digestOf(bytes), size: bytes.length }
    const image = { ...secret, manifest, target: manifest, blobs: [...secret.layers, secret.config, manifest] }
    await importing(call, image, name)
    expect(blobsOf(await exporting(call, { name }))).toEqual(digestsOf(image.blobs))
    const files = await exporting(call, { name }, { skipCompatibilityManifest: true, skipNonDistributable: true })
    expect(blobsOf(files)).toEqual(digestsOf([secret.config, manifest]))
    expect(files.has('manifest.json')).toBe(false)
  })

  test.each<[string, Store, Export, number, string]>([
    ['an unknown image', { name: 'nosuch' }, {}, status.NOT_FOUND, 'image "nosuch": not found'],
    [
      'images by prefix',
      { extraReferences: [{ name: 'docker.io', isPrefix: true }] },
      {},
      status.UNIMPLEMENTED,
      'prefix lookup on export not implemented',
    ],
    [
      'a platform that it is not for',
      { name },
      { platforms: [platform('riscv64')] },
      status.NOT_FOUND,
      'no manifest found for platform: not found',
    ],
  ])('of %s is refused', async (_, store, options, code, message) => {
    const call = world.fresh()
    await importing(call, both, name)
    await expect(exporting(call, store, options)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    })
    expect(await world.leaseIds(call)).toEqual([])
  })

  test('comes back as it was', async () => {
    const call = world.fresh()
    await importing(call, both, name)
    const to = await receiving(world.streams, call)
    const destination = pack(imageExportStream, ImageExportStream.fromPartial({ stream: to.id, allPlatforms: true }))
    const source = pack(imageStore, ImageStore.fromPartial({ name }))
    await world.transfer({ source, destination, options: undefined }, call)
    const again = world.fresh()
    const { id } = await sending(world.streams, again, await to.bytes)
    await world.transfer(
      {
        source: pack(imageImportStream, ImageImportStream.fromPartial({ stream: id })),
        destination: pack(
          imageStore,
          ImageStore.fromPartial({ extraReferences: [{ name: 'docker.io/library/two', isPrefix: true }] }),
        ),
        options: undefined,
      },
      again,
    )
    expect(await world.imageNames(again)).toEqual([name])
    await world.collect(again)
    expect(await world.digests(again)).toEqual(digestsOf(both.blobs))
  })
})
