import type { TestImage } from './image.ts'
import type { TestRegistry } from './registry.ts'

/**
 * Puts an image into a registry and gives its reference, `HOST:PORT/REPOSITORY:TAG`.
 *
 * @param name repository and tag, such as `library/hello:1`
 */
export async function pushImage(registry: TestRegistry, name: string, image: TestImage): Promise<string> {
  const colon = name.lastIndexOf(':')
  const repository = name.slice(0, colon)
  const tag = name.slice(colon + 1)
  const must = async (wanted: number, what: string, path: string, init: Parameters<TestRegistry['request']>[1]) => {
    const answer = await registry.request(path, init)
    if (answer.status !== wanted) throw new Error(`${what} gave ${answer.status}: ${answer.body.toString()}`)
    return answer
  }

  const manifests = [image.manifest, ...(image.index === undefined ? [] : [image.index])]
  for (const blob of image.blobs) {
    if (manifests.includes(blob)) continue
    const start = await must(202, 'starting an upload', `/v2/${repository}/blobs/uploads/`, { method: 'POST' })
    const location = new URL(start.headers.location ?? '', registry.url)
    location.searchParams.set('digest', blob.digest)
    const headers = { 'content-type': 'application/octet-stream' }
    const path = location.pathname + location.search
    await must(201, `uploading ${blob.digest}`, path, { method: 'PUT', headers, body: blob.bytes })
  }
  for (const manifest of manifests) {
    for (const reference of manifest === image.target ? [manifest.digest, tag] : [manifest.digest]) {
      const headers = { 'content-type': manifest.mediaType }
      const path = `/v2/${repository}/manifests/${reference}`
      await must(201, `putting manifest ${reference}`, path, { method: 'PUT', headers, body: manifest.bytes })
    }
  }
  return `${registry.host}/${name}`
}
