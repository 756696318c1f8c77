import { buildImage, digestOf, pushImage, startRegistry } from '@flotilla/testing'
import { expect, it } from 'vitest'
import { createRegistryClient } from './index.ts'

async function bytesOf(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(source))
}

it('resolves a tag and fetches what it names from a real registry', async () => {
  await using registry = await startRegistry()
  const image = await buildImage({ index: true })
  const reference = await pushImage(registry, 'library/hello:1', image)
  await using client = createRegistryClient({ maxDownloads: 2 })
  const repository = client.repository(reference)
  const target = await repository.resolve()
  expect(target).toEqual({ mediaType: image.target.mediaType, digest: image.target.digest, size: image.target.size })
  for (const { mediaType, digest, size } of image.blobs) {
    const bytes = await bytesOf(repository.fetch({ mediaType, digest, size }))
    expect(digestOf(bytes)).toBe(digest)
  }
  const [layer] = image.layers
  const tail = await bytesOf(repository.fetch(layer!, { offset: 1000 }))
  expect(tail.equals(layer!.bytes.subarray(1000))).toBe(true)
})
