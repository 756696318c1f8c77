import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { dockerArchive, ociArchive } from './archive.ts'
import { buildImage } from './image.ts'
import { digestOf, layerOf, tarOf } from './layer.ts'
import { tempWorld } from './temp-world.ts'
import { generateTree } from './tree.ts'

describe('buildImage', () => {
  it('gives the same digests for the same options, others for others', async () => {
    const [one, two, three] = [await buildImage(), await buildImage(), await buildImage({ config: { Cmd: ['true'] } })]
    expect(two.target.digest).toBe(one.target.digest)
    expect(three.target.digest).not.toBe(one.target.digest)
    for (const blob of one.blobs) expect(digestOf(blob.bytes)).toBe(blob.digest)
  })

  it('compresses as told, and an index names the manifest', async () => {
    const image = await buildImage({ compression: 'zstd', index: true, layers: [[{ name: 'a', content: 'a' }]] })
    expect(image.layers.map((layer) => layer.mediaType)).toEqual(Array(2).fill(expect.stringMatching(/\+zstd$/)))
    expect(JSON.parse(image.target.bytes.toString()).manifests[0].digest).toBe(image.manifest.digest)
    const tar = execFileSync('zstd', ['-dc'], { input: image.layers[1]!.bytes })
    expect(digestOf(tar)).toBe(image.layers[1]!.diffId)
  })

  it('writes archives that tar lists', async () => {
    const image = await buildImage()
    const list = async (archive: Buffer) =>
      execFileSync('tar', ['-t'], { input: archive, encoding: 'utf8' }).split('\n')
    expect(await list(await ociArchive(image, 'a/b:1'))).toContain('index.json')
    expect(await list(await dockerArchive(image, 'a/b:1'))).toContain('manifest.json')
  })
})

describe('generateTree', () => {
  it('is the same for the same seed, and GNU tar unpacks it', async () => {
    await using world = await tempWorld({ tmpfs: true })
    for (const seed of [1, 2, 3, 4, 5]) {
      const entries = generateTree(seed, { devices: true })
      expect((await layerOf(entries)).diffId).toBe((await layerOf(generateTree(seed, { devices: true }))).diffId)
      const file = world.join(`${seed}.tar`)
      writeFileSync(file, await tarOf(entries))
      const listed = execFileSync('tar', ['-tf', file, '--quoting-style=escape'], { encoding: 'utf8' })
      expect(listed.trim().split('\n')).toHaveLength(entries.length)
      execFileSync('tar', ['-xf', file, '-C', world.path, '--numeric-owner', '--xattrs', '--xattrs-include=*'])
    }
  })
})
