import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, truncateSync } from 'node:fs'
import { ApplyRequest } from '@flotilla/api/containerd/services/diff/v1/diff'
import { Mount } from '@flotilla/api/containerd/types/types'
import { status } from '@flotilla/rpc'
import { type LayerBlob, layerOf } from '@flotilla/testing'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { type DiffWorld, diffWorld } from './testing/world.ts'

let world: DiffWorld
let target: string
let count = 0
beforeAll(async () => {
  const failing = {
    id: 'failing',
    accepts: ['x/failing'],
    returns: 'application/vnd.oci.image.layer.v1.tar',
    path: 'sh',
    args: ['-c', 'exit 3'],
    env: [],
  }
  world = await diffWorld([failing], true)
})
afterAll(() => world[Symbol.asyncDispose]())
beforeEach(() => {
  target = world.join(`target-${++count}`)
  mkdirSync(target)
})

/** More than a pipe holds. */
const large = () => randomBytes(700_000).toString('hex')

async function apply({ digest, size, mediaType }: Pick<LayerBlob, 'digest' | 'size' | 'mediaType'>) {
  const mounts = [Mount.fromPartial({ type: 'bind', source: target, options: ['rbind', 'rw'] })]
  return await world.diff.apply(ApplyRequest.fromPartial({ diff: { digest, size, mediaType }, mounts }), world.call)
}

it.each(['none', 'gzip', 'zstd'] as const)(
  'a %s layer whose bytes another program has is unpacked as they come',
  async (compression) => {
    const content = large()
    const layer = await layerOf([{ name: 'f', content, mode: 0o644 }], compression)
    await world.put(layer.digest, layer.bytes)
    expect((await apply(layer)).applied).toMatchObject({ digest: layer.diffId })
    expect(readFileSync(`${target}/f`, 'utf8')).toBe(content)
  },
)

it('a layer that another program has less of than it said is an error, not a smaller tree', async () => {
  const layer = await layerOf([{ name: 'f', content: large(), mode: 0o644 }], 'none')
  await world.put(layer.digest, layer.bytes)
  const [algorithm, hex] = layer.digest.split(':')

  truncateSync(world.join('plugin/io.containerd.content.v1.content/blobs', `${algorithm}`, `${hex}`), 0)
  await expect(apply(layer)).rejects.toMatchObject({ code: status.DATA_LOSS })
  expect(readdirSync(target)).toEqual([])
})

it('a processor that takes none of the bytes ends the reading of them', async () => {
  const layer = await layerOf([{ name: 'f', content: large(), mode: 0o644 }], 'none')
  await world.put(layer.digest, layer.bytes)
  await expect(apply({ ...layer, mediaType: 'x/failing' })).rejects.toThrow('failing')
})

it('what is not there is NOT_FOUND', async () => {
  const layer = await layerOf([{ name: 'absent', content: 'x', mode: 0o644 }])
  await expect(apply(layer)).rejects.toMatchObject({ code: status.NOT_FOUND })
})
