import { ImageImportStream, ImageStore, OCIRegistry } from '@flotilla/api/containerd/types/transfer/transfer'
import { type Call, status } from '@flotilla/rpc'
import { type Blob, buildImage, descriptorOf, indexOf, ociArchive, pushImage, type TestImage } from '@flotilla/testing'
import { afterAll, describe, expect, test } from 'vitest'
import { pack } from './any.ts'
import { hearing, sending } from './testing/client-stream.ts'
import { worldAndRegistry } from './testing/world.ts'
import { imageImportStream, imageStore, ociRegistry } from './types.ts'

const { world, registry, end } = await worldAndRegistry()
afterAll(end)

const name = 'r.example/a:1'
const image = await buildImage({ scratch: true, index: true, layers: [[{ name: 'a', content: 'a' }]] })
const other = await buildImage({ scratch: true, layers: [[{ name: 'b', content: 'b' }]] })
const options = undefined
const inRegistry = (reference: string) =>
  pack(ociRegistry, OCIRegistry.fromPartial({ reference, resolver: { defaultScheme: 'http' } }))
const store = (fields: Parameters<typeof ImageStore.fromPartial>[0]) => pack(imageStore, ImageStore.fromPartial(fields))

async function importing(call: Call, given: TestImage, as = name) {
  const { id } = await sending(world.streams, call, await ociArchive(given, as))
  const source = pack(imageImportStream, ImageImportStream.fromPartial({ stream: id }))
  const destination = store({ extraReferences: [{ name: 'x', isPrefix: true, allowOverwrite: true }] })
  await world.transfer({ source, destination, options }, call)
}

async function pushing(call: Call, reference: string, fields: Parameters<typeof ImageStore.fromPartial>[0] = { name }) {
  const progress = await hearing(world.streams, call)
  const request = { source: store(fields), destination: inRegistry(reference) }
  await world.transfer({ ...request, options: { progressStream: progress.id } }, call)
  return await progress.told
}

/** The bytes of a manifest in the registry. */
const manifestIn = async (repository: string, reference: string, { mediaType }: Blob) =>
  (await registry.request(`/v2/${repository}/manifests/${reference}`, { headers: { accept: mediaType } })).body

describe('a push', () => {
  test('brings all of an image, and tells of its parts', async () => {
    const call = world.fresh()
    await importing(call, image)
    const told = await pushing(call, `${registry.host}/whole:1`)
    expect((await manifestIn('whole', '1', image.target)).equals(image.target.bytes)).toBe(true)
    expect((await manifestIn('whole', image.manifest.digest, image.manifest)).equals(image.manifest.bytes)).toBe(true)
    for (const blob of [image.config, ...image.layers])
      expect((await registry.request(`/v2/whole/blobs/${blob.digest}`)).body.equals(blob.bytes)).toBe(true)
    const ends = told.filter(({ event }) => event === 'complete').map(({ desc }) => desc?.digest)
    expect([...new Set(ends)].sort()).toEqual(image.blobs.map(({ digest }) => digest).sort())
    const events = told.map(({ event }) => event)
    expect(events[0]).toBe(`Pushing to OCI Registry (${registry.host}/whole:1)`)
    expect(events).toContain(`Completed push to OCI Registry (${registry.host}/whole:1)`)
    const again = await pushing(call, `${registry.host}/whole:1`)
    expect(new Set(again.filter(({ total }) => total > 0).map(({ event }) => event))).toEqual(
      new Set(['waiting', 'already exists']),
    )
  })

  test('takes what it was pulled with from the other repository', async () => {
    const call = world.fresh()
    const reference = await pushImage(registry, 'from/here:1', image)
    await world.transfer({ source: inRegistry(reference), destination: store({ name }), options }, call)
    const told = await pushing(call, `${registry.host}/to/there:1`)
    expect((await manifestIn('to/there', '1', image.target)).equals(image.target.bytes)).toBe(true)
    const layer = told.filter(({ desc }) => desc?.digest === image.layers[0]?.digest).map(({ event }) => event)
    expect(layer).toEqual(['waiting', 'already exists'])
  })

  test('takes from the other repository what was never pulled here', async () => {
    const call = world.fresh()
    const own = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' }
    const index = indexOf([
      { ...descriptorOf(other.manifest), platform: { os: 'linux', architecture: 's390x' } },
      { ...descriptorOf(image.manifest), platform: own },
    ])
    await pushImage(registry, 'both/here:other', other)
    const both = {
      ...image,
      index,
      target: index,
      blobs: [...image.blobs.filter((blob) => blob !== image.index), index],
    }
    const reference = await pushImage(registry, 'both/here:1', both)
    const destination = store({ name, platforms: [own], allMetadata: true })
    await world.transfer({ source: inRegistry(reference), destination, options }, call)
    const absent = other.layers[0]?.digest ?? ''
    await expect(world.content.info({ digest: absent }, call)).rejects.toMatchObject({ code: status.NOT_FOUND })
    await pushing(call, `${registry.host}/both/there:1`)
    expect((await manifestIn('both/there', '1', index)).equals(index.bytes)).toBe(true)
    expect((await registry.request(`/v2/both/there/blobs/${absent}`)).status).toBe(200)
  })

  test('of one platform leaves the others out', async () => {
    const call = world.fresh()
    const own = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' }
    const s390x = { os: 'linux', architecture: 's390x' }
    const index = indexOf([
      { ...descriptorOf(other.manifest), platform: s390x },
      { ...descriptorOf(image.manifest), platform: own },
    ])
    await importing(call, { ...image, index, target: index, blobs: [...image.blobs, ...other.blobs, index] })
    // A registry takes an index only when it has all manifests of it.
    await pushImage(registry, 'one/platform:other', other)
    const told = await pushing(call, `${registry.host}/one/platform:1`, { name, platforms: [own] })
    expect((await manifestIn('one/platform', '1', index)).equals(index.bytes)).toBe(true)
    const digests = new Set(told.map(({ desc }) => desc?.digest))
    for (const { digest } of [image.manifest, ...image.layers]) expect(digests).toContain(digest)
    for (const { digest } of other.blobs) expect(digests).not.toContain(digest)
  })

  test.each([
    ['of an unknown image', 'nosuch', 'some/where:1', status.NOT_FOUND, /^image "nosuch": not found$/],
    ['to no reference', name, 'UPPER:1', status.INVALID_ARGUMENT, /UPPER/],
  ])('%s is refused', async (_, from, to, code, message) => {
    const call = world.fresh()
    await importing(call, image)
    await expect(pushing(call, `${registry.host}/${to}`, { name: from })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    })
    expect(await world.leaseIds(call)).toEqual([])
  })

  test('of an image whose layer is gone says so, and its tag does not appear', async () => {
    const call = world.fresh()
    await importing(call, image)
    const digest = image.layers[0]?.digest ?? ''
    await world.content.delete({ digest }, call)
    await expect(pushing(call, `${registry.host}/torn:1`)).rejects.toMatchObject({
      code: status.NOT_FOUND,
      message: expect.stringContaining(digest),
    })
    expect((await registry.request('/v2/torn/manifests/1')).status).toBe(404)
    expect(await world.leaseIds(call)).toEqual([])
  })
})

describe('a tag', () => {
  test('gives an image further names, whatever had them', async () => {
    const call = world.fresh()
    await importing(call, image)
    await importing(call, other, 'r.example/b:1')
    const fields = {
      name: 'r.example/b:1',
      labels: { a: 'b' },
      extraReferences: [{ name: 'r.example/c:1' }, { name: 'r.example/d', addDigest: true }],
    }
    await world.transfer({ source: store({ name }), destination: store(fields), options }, call)
    const names = ['r.example/b:1', 'r.example/c:1', `r.example/d@${image.target.digest}`]
    expect(await world.imageNames(call)).toEqual([name, ...names])
    for (const one of names) {
      const { image: found } = await world.images.get({ name: one }, call)
      expect([found?.target?.digest, found?.labels]).toEqual([image.target.digest, { a: 'b' }])
    }
    expect(await world.leaseIds(call)).toEqual([])
  })

  test('of an unknown image, or without a name, is refused', async () => {
    const call = world.fresh()
    await importing(call, image)
    for (const [from, to, message] of [
      ['nosuch', 'x', 'image "nosuch": not found'],
      [name, '', 'no image name found: not found'],
    ] as const)
      await expect(
        world.transfer({ source: store({ name: from }), destination: store({ name: to }), options }, call),
      ).rejects.toMatchObject({ code: status.NOT_FOUND, message })
    expect(await world.imageNames(call)).toEqual([name])
  })
})
