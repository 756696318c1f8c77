import { randomBytes } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { UnpackRequest } from '@flotilla/api/flotilla/diff/v1/diff'
import { ContentWriter } from '@flotilla/content-client'
import { status, withCall } from '@flotilla/rpc'
import { type LayerBlob, type LayerEntry, layerOf, until } from '@flotilla/testing'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { type DiffWorld, diffWorld } from './testing/world.ts'

let world: DiffWorld
let upper: string
let count = 0
beforeAll(async () => {
  const cat = { id: 'cat', accepts: ['x/cat'], returns: 'application/vnd.oci.image.layer.v1.tar', path: 'cat' }
  world = await diffWorld([{ ...cat, args: [], env: [] }])
})
afterAll(() => world[Symbol.asyncDispose]())
beforeEach(() => {
  upper = world.join(`upper-${++count}`)
  mkdirSync(upper)
})

const overlay = () => [{ type: 'overlay', source: 'overlay', target: '', options: [`upperdir=${upper}`] }]
const bind = (mode: string) => [{ type: 'bind', source: upper, target: '', options: ['rbind', mode] }]

function requestFor(layer: Pick<LayerBlob, 'digest' | 'size' | 'mediaType'>, ingest = '', mounts = overlay()) {
  const { digest, size, mediaType } = layer
  return UnpackRequest.fromPartial({ diff: { digest, size, mediaType }, mounts, ingest })
}

const large = (): LayerEntry => ({ name: 'd/f', content: randomBytes(700_000), mode: 0o644 })

/** An ingest that has the first bytes of a layer. */
async function begun(layer: LayerBlob, bytes: number) {
  const ref = `layer-${layer.digest}`
  const writer = new ContentWriter(world.content, world.call)
  await writer.send({ action: WriteAction.STAT, ref, total: layer.size, expected: layer.digest })
  await writer.send({ action: WriteAction.WRITE, offset: 0, data: layer.bytes.subarray(0, bytes) })
  const finish = () =>
    writer.send({
      action: WriteAction.COMMIT,
      offset: bytes,
      data: layer.bytes.subarray(bytes),
      total: layer.size,
      expected: layer.digest,
    })
  return { ref, finish, [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose]() }
}

it('unpacks a layer while a client writes it, and over the commit', async () => {
  const layer = await layerOf([large()], 'gzip')
  await using ingest = await begun(layer, 400_000)
  const unpacked = world.layers.unpack(requestFor(layer, ingest.ref), world.call)
  await until('some of the file to be there', () => {
    const found = lstatSync(`${upper}/d/f`, { throwIfNoEntry: false })
    return (found?.size ?? 0) > 100_000
  })
  await ingest.finish()
  expect(await unpacked).toMatchObject({
    applied: { digest: layer.diffId },
    implied: [{ path: Buffer.from('d'), described: false }],
  })
  expect(statSync(`${upper}/d/f`).size).toBe(700_000)
})

it('takes no more layers that arrive than it has threads for, and others meanwhile', async () => {
  const layer = await layerOf([large()], 'none')
  await using ingest = await begun(layer, 100_000)
  const cancel = new AbortController()
  const first = world.layers.unpack(
    requestFor(layer, ingest.ref),
    withCall(world.call, { signal: AbortSignal.any([world.call.signal, cancel.signal]) }),
  )
  first.catch(() => {})
  await until('it to have begun', () => readdirSync(upper).length > 0)
  await expect(world.layers.unpack(requestFor(layer, ingest.ref), world.call)).rejects.toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
  })
  const other = await layerOf([{ name: 'small', content: 'small' }])
  await world.put(other.digest, other.bytes)
  expect((await world.layers.unpack(requestFor(other), world.call)).applied?.digest).toBe(other.diffId)
  cancel.abort(new Error('enough'))
  await expect(first).rejects.toThrow('enough')
})

it('an ingest that is taken away ends the unpacking', async () => {
  const layer = await layerOf([large()], 'none')
  await using ingest = await begun(layer, 100_000)
  const unpacked = world.layers.unpack(requestFor(layer, ingest.ref), world.call)
  unpacked.catch(() => {})
  await until('it to have begun', () => readdirSync(upper).length > 0)
  await world.content.abort({ ref: ingest.ref }, world.call)
  await expect(unpacked).rejects.toThrow(/went away at 100000 of \d+ bytes/)
})

it('an ingest that nobody writes is NOT_FOUND', async () => {
  const layer = await layerOf([large()])
  await expect(world.layers.unpack(requestFor(layer, 'nobody'), world.call)).rejects.toMatchObject({
    code: status.NOT_FOUND,
  })
})

it('leaves removals as marks in an upper directory, and carries them out in a tree', async () => {
  const entries = [
    { name: 'gone', content: 'gone' },
    { name: '.wh.gone', content: '' },
  ]
  const [mark] = [await layerOf([{ name: '.wh.other', content: '' }])]
  await world.put(mark.digest, mark.bytes)
  await world.layers.unpack(requestFor(mark), world.call)
  expect(lstatSync(`${upper}/other`).isCharacterDevice()).toBe(true)
  const tree = await layerOf(entries)
  await world.put(tree.digest, tree.bytes)
  upper = world.join(`tree-${count}`)
  mkdirSync(upper)
  await world.layers.unpack(requestFor(tree, '', bind('rw')), world.call)
  expect(readdirSync(upper)).toEqual([])
})

it.each([
  ['a bind that is read-only', () => bind('ro')],
  ['two mounts', () => [...overlay(), ...bind('rw')]],
  ['none', () => []],
])('%s is UNIMPLEMENTED', async (_, mounts) => {
  const layer = await layerOf([large()])
  await world.put(layer.digest, layer.bytes)
  await expect(world.layers.unpack(requestFor(layer, '', mounts()), world.call)).rejects.toMatchObject({
    code: status.UNIMPLEMENTED,
  })
})

it('a program that has to help gets a layer when it is whole only', async () => {
  const layer = { ...(await layerOf([{ name: 'f', content: 'f' }], 'none')), mediaType: 'x/cat' }
  await using ingest = await begun(layer, 512)
  await expect(world.layers.unpack(requestFor(layer, ingest.ref), world.call)).rejects.toMatchObject({
    code: status.UNIMPLEMENTED,
  })
  await ingest.finish()
  await world.layers.unpack(requestFor(layer), world.call)
  expect(readFileSync(`${upper}/f`, 'utf8')).toBe('f')
})

it('gives implied directories what they have below', async () => {
  const lower = world.join(`lower-${count}`)
  mkdirSync(lower)
  mkdirSync(`${lower}/d`, { mode: 0o711 })
  const layer = await layerOf([{ name: 'd/f', content: 'f' }])
  await world.put(layer.digest, layer.bytes)
  const { implied } = await world.layers.unpack(requestFor(layer), world.call)
  expect(statSync(`${upper}/d`).mode & 0o777).toBe(0o755)
  await world.layers.adoptParents({ upper, lowers: [lower], implied }, world.call)
  expect(statSync(`${upper}/d`).mode & 0o777).toBe(0o711)
  expect(statSync(`${upper}/d`).mtimeMs).toBe(statSync(`${lower}/d`).mtimeMs)
})
