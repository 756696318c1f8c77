import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ImageStore, OCIRegistry } from '@flotilla/api/containerd/types/transfer/transfer'
import { chainIds } from '@flotilla/oci'
import type { Call } from '@flotilla/rpc'
import { type DriverKind, TargetExists } from '@flotilla/snapshot-driver'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { buildImage, type LayerBlob, layerOf, startFaultyRegistry, type TestImage } from '@flotilla/testing'
import { afterAll, expect, test } from 'vitest'
import { pack } from './any.ts'
import { transferWorld } from './testing/world.ts'
import { imageStore, ociRegistry } from './types.ts'

const snapshotter = 'remote'
const prefix = 'containerd.io/snapshot/'

/** Layers that the snapshotter has by itself, by digest. */
const has = new Set<string>()
/** The labels that came with each layer, by its name in the end. */
const told = new Map<string, Readonly<Record<string, string>>>()

/** Overlayfs, in which there are layers already, as in programs that fetch what is read of them. */
const remote: DriverKind = {
  name: snapshotter,
  exports: { enable_remote_snapshot_annotations: 'true' },
  async open(root, logger) {
    const driver = await overlayfs().open(root, logger)
    return {
      ...driver,
      async create(request, signal) {
        const id = await driver.create(request, signal)
        const target = request.labels['containerd.io/snapshot.ref']
        if (target !== undefined) told.set(target, request.labels)
        const digest = request.labels[`${prefix}cri.layer-digest`] ?? ''
        if (!has.has(digest)) return id
        const [mount] = await driver.mounts({ ...request, id })
        const upper = mount?.options.find((option) => option.startsWith('upperdir='))?.slice('upperdir='.length)
        await writeFile(join(upper ?? mount?.source ?? '', 'from-elsewhere'), digest)
        throw new TargetExists(id, { [`${prefix}remote`]: 'yes' })
      },
    }
  },
}

const world = await transferWorld(undefined, [remote])
const registry = await startFaultyRegistry()
afterAll(async () => {
  await registry[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

const annotated = async (name: string): Promise<LayerBlob> => ({
  ...(await layerOf([{ name, content: name }])),
  annotations: { [`${prefix}test`]: name, other: 'not for drivers' },
})

async function imageOf(call: Call): Promise<TestImage & { readonly reference: string; readonly chain: string[] }> {
  const names = ['one', 'two', 'three'].map((name) => `${call.namespace}-${name}`)
  const image = await buildImage({ scratch: true, layers: await Promise.all(names.map(annotated)) })
  const chain = chainIds(image.layers.map(({ diffId }) => diffId))
  return { ...image, chain, reference: registry.add(`remote/${call.namespace}:1`, image) }
}

async function pull(call: Call, reference: string, ...snapshotters: string[]): Promise<void> {
  const source = OCIRegistry.fromPartial({ reference, resolver: { defaultScheme: 'http' } })
  const unpacks = snapshotters.map((one) => ({ snapshotter: one }))
  const destination = ImageStore.fromPartial({ name: reference, unpacks })
  await world.transfer(
    { source: pack(ociRegistry, source), destination: pack(imageStore, destination), options: undefined },
    call,
  )
}

const digestsOf = (blobs: readonly { digest: string }[]) => blobs.map(({ digest }) => digest).sort()
const info = async (key: string, call: Call) => (await world.snapshots.stat({ snapshotter, key }, call)).info

test('layers that the snapshotter has are not downloaded', async () => {
  const call = world.fresh()
  const { chain, config, layers, manifest, reference } = await imageOf(call)
  for (const { digest } of layers) has.add(digest)
  await pull(call, reference, snapshotter)
  await world.collect(call)
  expect(await world.digests(call)).toEqual(digestsOf([config, manifest]))
  for (const [at, key] of chain.entries()) {
    const found = await info(key, call)
    expect(found).toMatchObject({ parent: chain[at - 1] ?? '', labels: { [`${prefix}remote`]: 'yes' } })
    expect(found?.labels).not.toHaveProperty('flotilla.io/unpacked-by')
  }
  await pull(call, reference, snapshotter)
  expect(await world.digests(call)).toEqual(digestsOf([config, manifest]))
})

test('the snapshotter is told where each layer is, and what the image says to it', async () => {
  const call = world.fresh()
  const { chain, layers, manifest, reference } = await imageOf(call)
  await pull(call, reference, snapshotter)
  for (const [at, key] of chain.entries())
    expect(told.get(key)).toEqual({
      'containerd.io/snapshot.ref': key,
      [`${prefix}test`]: `${call.namespace}-${['one', 'two', 'three'][at]}`,
      [`${prefix}cri.image-ref`]: reference,
      [`${prefix}cri.manifest-digest`]: manifest.digest,
      [`${prefix}cri.layer-digest`]: layers[at]?.digest,
      [`${prefix}cri.image-layers`]: layers
        .slice(at)
        .map(({ digest }) => digest)
        .join(','),
    })
})

test('from the first layer on that it has not, layers are downloaded and unpacked', async () => {
  const call = world.fresh()
  const { blobs, chain, layers, reference } = await imageOf(call)
  const [bottom, ...above] = layers
  has.add(bottom!.digest)
  await pull(call, reference, snapshotter)
  expect(await world.digests(call)).toEqual(digestsOf(blobs.filter((blob) => blob !== bottom)))
  const view = { snapshotter, key: 'v', parent: chain[2] ?? '', labels: {} }
  const { mounts } = await world.snapshots.view(view, call)
  const lowers = mounts[0]?.options.find((option) => option.startsWith('lowerdir='))?.slice('lowerdir='.length)
  const read = (at: number, name: string) => readFile(join(lowers?.split(':')[at] ?? '', name), 'utf8')
  expect(await read(2, 'from-elsewhere')).toBe(bottom?.digest)
  for (const [at, name] of ['three', 'two'].entries())
    expect(await read(at, `${call.namespace}-${name}`)).toBe(`${call.namespace}-${name}`)
  for (const { digest, diffId } of above)
    expect((await world.content.info({ digest }, call)).info?.labels).toMatchObject({
      'containerd.io/uncompressed': diffId,
    })
})

test.each([
  ['another snapshotter wants them', ['overlayfs', snapshotter]],
  ['nobody unpacks them', []],
])('they are downloaded all the same when %s', async (_, snapshotters) => {
  const call = world.fresh()
  const { blobs, layers, reference } = await imageOf(call)
  for (const { digest } of layers) has.add(digest)
  await pull(call, reference, ...snapshotters)
  expect(await world.digests(call)).toEqual(digestsOf(blobs))
})

test('a layer that cannot be downloaded fails the pull and leaves no active snapshot', async () => {
  const call = world.fresh()
  const { chain, layers, reference } = await imageOf(call)
  has.add(layers[0]!.digest)
  const takeBack = registry.fault({ path: new RegExp(layers[2]!.digest), fault: { kind: 'status', status: 404 } })
  await expect(pull(call, reference, snapshotter)).rejects.toThrow(layers[2]!.digest)
  takeBack()
  const found = await Array.fromAsync(world.snapshots.list({ snapshotter, filters: [] }, call))
  for (const { name } of found.flatMap(({ info }) => info)) expect(chain).toContain(name)
  await pull(call, reference, snapshotter)
  expect(await info(chain[2] ?? '', call)).toMatchObject({ parent: chain[1] })
})
