import { PrepareSnapshotRequest } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { ImageStore, OCIRegistry } from '@flotilla/api/containerd/types/transfer/transfer'
import { layersElsewhere } from '@flotilla/diff'
import { chainIds } from '@flotilla/oci'
import { type Call, withCall } from '@flotilla/rpc'
import { buildImage, descriptorOf, jsonBlob, pushImage, type TestImage } from '@flotilla/testing'
import { afterAll, expect, test } from 'vitest'
import { pack } from './any.ts'
import { type TransferWorld, transferWorld, worldAndRegistry } from './testing/world.ts'
import { imageStore, ociRegistry } from './types.ts'

const { world, registry, end } = await worldAndRegistry()
afterAll(end)

const snapshotter = 'overlayfs'

async function pull(of: TransferWorld, call: Call, reference: string): Promise<void> {
  const source = OCIRegistry.fromPartial({ reference, resolver: { defaultScheme: 'http' } })
  const destination = ImageStore.fromPartial({ name: reference, unpacks: [{ snapshotter }] })
  await of.transfer(
    { source: pack(ociRegistry, source), destination: pack(imageStore, destination), options: undefined },
    call,
  )
}

/** Layers, the first of which all such images have. */
const layersOf = (...names: string[]) => ['base', ...names].map((name) => [{ name: `d/${name}`, content: name }])
const imageOf = (...names: string[]) => buildImage({ scratch: true, layers: layersOf(...names) })
const chainOf = ({ layers }: TestImage) => chainIds(layers.map(({ diffId }) => diffId))

/** Names of the snapshots that are not committed. */
async function active(of: TransferWorld, call: Call): Promise<string[]> {
  const found = await Array.fromAsync(of.snapshots.list({ snapshotter, filters: ['kind==active'] }, call))
  return found.flatMap(({ info }) => info.map(({ name }) => name))
}

test('where another program is the differ, layers are unpacked one upon the other', async () => {
  await using other = await transferWorld(() => ({ layers: layersElsewhere() }))
  const call = other.fresh()
  const image = await imageOf('one', 'two')
  await pull(other, call, await pushImage(registry, 'elsewhere/image:1', image))
  expect(await other.snapshotNames(call)).toEqual(chainOf(image).sort())
})

test('images with layers in common that come at once share the snapshots of those', async () => {
  const call = world.fresh()
  const images = await Promise.all([imageOf('one', 'two'), imageOf('one', 'three'), imageOf('four')])
  const references: string[] = []
  for (const [at, image] of images.entries()) references.push(await pushImage(registry, `common/image:${at}`, image))
  await Promise.all(references.map((reference) => pull(world, call, reference)))
  expect(await world.snapshotNames(call)).toEqual([...new Set(images.flatMap(chainOf))].sort())
})

test('each snapshot has the one below as its parent', async () => {
  const call = world.fresh()
  const image = await imageOf('one', 'two', 'three')
  await pull(world, call, await pushImage(registry, 'parents/image:1', image))
  const chain = chainOf(image)
  for (const [at, key] of chain.entries()) {
    const { info } = await world.snapshots.stat({ snapshotter, key }, call)
    expect(info).toMatchObject({ parent: chain[at - 1] ?? '', labels: { 'containerd.io/snapshot.ref': key } })
    expect(Object.keys(info?.labels ?? {})).not.toContain('flotilla.io/unpacked-by')
  }
})

test('a layer that unpacks to something else than the image says leaves at most what is below it', async () => {
  const call = world.fresh()
  const image = await imageOf('one', 'two', 'three')
  const config = JSON.parse(image.config.bytes.toString()) as { rootfs: { diff_ids: string[] } }
  config.rootfs.diff_ids[2] = `sha256:${'0'.repeat(64)}`
  const wrong = jsonBlob(image.config.mediaType, config)
  const { mediaType } = image.manifest
  const layers = image.layers.map(descriptorOf)
  const manifest = jsonBlob(mediaType, { schemaVersion: 2, mediaType, config: descriptorOf(wrong), layers })
  const blobs = [...image.layers, wrong, manifest]
  const reference = await pushImage(registry, 'wrong/image:1', {
    ...image,
    config: wrong,
    manifest,
    target: manifest,
    blobs,
  })
  await expect(pull(world, call, reference)).rejects.toThrow(/^wrong diff id "sha256:\w+" calculated on extraction/)
  expect(await active(world, call)).toEqual([])
  expect(chainOf(image).slice(0, 2)).toEqual(expect.arrayContaining(await world.snapshotNames(call)))
})

test('what a process before this one left half unpacked goes; what others unpack stays', async () => {
  const call = world.fresh()
  const image = await imageOf('one')
  const prepare = (key: string, labels: Record<string, string>) =>
    world.snapshots.prepare(PrepareSnapshotRequest.fromPartial({ snapshotter, key, labels }), call)
  await prepare('left', { 'flotilla.io/unpacked-by': 'a process that was killed' })
  await prepare('of a client', {})
  await pull(world, call, await pushImage(registry, 'abandoned/image:1', image))
  expect(await active(world, call)).toEqual(['of a client'])
})

test('another pull of an image that is there changes nothing of its content and snapshots, and holds them', async () => {
  const call = world.fresh()
  const image = await imageOf('one', 'two')
  const reference = await pushImage(registry, 'again/image:1', image)
  await pull(world, call, reference)
  const records = async () => [
    await Array.fromAsync(world.content.list({ filters: [] }, call)),
    await Array.fromAsync(world.snapshots.list({ snapshotter, filters: [] }, call)),
  ]
  const before = await records()
  const { lease } = await world.leases.create({ id: 'l', labels: {} }, call)
  await pull(world, withCall(call, { lease: 'l' }), reference)
  expect(await records()).toEqual(before)
  const { resources } = await world.leases.listResources({ id: lease?.id ?? '' }, call)
  const top = chainOf(image).at(-1)
  expect(resources).toContainEqual({ id: top, type: `snapshots/${snapshotter}` })
  expect(resources.filter(({ type }) => type === 'content')).toHaveLength(image.blobs.length)
})
