import { createHash } from 'node:crypto'
import { createGzip } from 'node:zlib'
import { readBlob } from '@flotilla/content-client'
import { type Descriptor, detectCompression, mediaTypes, refOf } from '@flotilla/oci'
import { maxManifestSize } from '@flotilla/registry'
import { type Call, failedPrecondition } from '@flotilla/rpc'
import type { Archive } from './archive-reader.ts'
import type { TransferDeps } from './deps.ts'
import { annotations, objectOf, wholeName } from './image-names.ts'
import { ingest } from './ingest.ts'
import { parseObject } from './tree.ts'

interface DockerImage {
  readonly Config: string
  readonly RepoTags: readonly string[]
  readonly Layers: readonly string[]
}

/** Writes manifests for the images of an archive that has none, as `docker save` made them, and the index of those. */
export async function indexOfDockerArchive(
  deps: TransferDeps,
  archive: Archive,
  compress: boolean,
  call: Call,
): Promise<Descriptor> {
  const manifests: object[] = []
  for (const image of imagesOf(archive.manifest)) {
    const manifest = await manifestOf(deps, archive, image, compress, call)
    const tags = image.RepoTags.map(wholeName)
    if (tags.length === 0) manifests.push(manifest)
    for (const name of tags) {
      const named = { [annotations.name]: name, [annotations.reference]: objectOf(name) }
      manifests.push({ ...manifest, annotations: named })
    }
  }
  return await writeJson(deps, mediaTypes.ociIndex, { schemaVersion: 2, manifests }, call)
}

function imagesOf(manifest: Buffer | undefined): DockerImage[] {
  if (manifest === undefined) throw failedPrecondition('unrecognized image format')
  let found: unknown
  try {
    found = JSON.parse(manifest.toString())
  } catch (error) {
    throw failedPrecondition(`manifest.json: ${error instanceof Error ? error.message : error}`, { cause: error })
  }
  if (!Array.isArray(found)) throw failedPrecondition('manifest.json: is no list of images')
  const words = (value: unknown) => (Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [])
  return found.map((one: { Config?: unknown; RepoTags?: unknown; Layers?: unknown } | null) => {
    if (typeof one?.Config !== 'string') throw failedPrecondition('manifest.json: an image has no config')
    return { Config: one.Config, RepoTags: words(one.RepoTags), Layers: words(one.Layers) }
  })
}

async function manifestOf(
  deps: TransferDeps,
  archive: Archive,
  image: DockerImage,
  compress: boolean,
  call: Call,
): Promise<Descriptor> {
  const found = archive.blobs.get(image.Config)
  if (found === undefined) throw failedPrecondition(`image config "${image.Config}" not found`)
  const config = { mediaType: mediaTypes.dockerConfig, ...found }
  const layers: Descriptor[] = []
  for (const path of image.Layers) layers.push(await layerOf(deps, archive, path, compress, call))
  const mediaType = mediaTypes.dockerManifest
  const manifest = await writeJson(deps, mediaType, { schemaVersion: 2, mediaType, config, layers }, call)
  const said = parseObject(await readBlob(deps.content, config.digest, maxManifestSize, call), image.Config)
  const text = (key: string) => (typeof said[key] === 'string' ? { [key]: said[key] } : {})
  return text('os').os && text('architecture').architecture
    ? { ...manifest, platform: { ...text('architecture'), ...text('os'), ...text('variant') } }
    : manifest
}

/** A layer of the archive; or the compressed one that unpacks to the same, when that is in content already. */
async function layerOf(
  deps: TransferDeps,
  archive: Archive,
  path: string,
  compress: boolean,
  call: Call,
): Promise<Descriptor> {
  const found = archive.blobs.get(path)
  if (found === undefined) throw failedPrecondition(`layer "${path}" not found`)
  const known = await compressedForm(deps, found.digest, call)
  const layer = known ?? found
  if (await isCompressed(deps, layer.digest, call)) return { mediaType: mediaTypes.dockerLayerGzip, ...layer }
  if (!compress) return { mediaType: mediaTypes.dockerLayer, ...layer }
  return { mediaType: mediaTypes.dockerLayerGzip, ...(await compressLayer(deps, layer.digest, call)) }
}

async function compressedForm(deps: TransferDeps, digest: string, call: Call) {
  const filters = [`labels."containerd.io/uncompressed"==${digest}`]
  for await (const { info } of deps.content.list({ filters }, call))
    for (const one of info) if (one.digest !== digest) return { digest: one.digest, size: one.size }
  return undefined
}

async function isCompressed(deps: TransferDeps, digest: string, call: Call): Promise<boolean> {
  for await (const { data } of deps.content.read({ digest, offset: 0, size: 8 }, call))
    return detectCompression(data) !== 'none'
  return false
}

async function compressLayer(deps: TransferDeps, digest: string, call: Call) {
  const compressing = createGzip()
  const source = deps.content.read({ digest, offset: 0, size: 0 }, call)
  const feed = (async () => {
    try {
      for await (const { data } of source)
        if (!compressing.write(data)) await new Promise((resolve) => compressing.once('drain', resolve))
      compressing.end()
    } catch (error) {
      compressing.destroy(error instanceof Error ? error : new Error(String(error)))
    }
  })()
  let size = 0
  const counted = (async function* () {
    for await (const piece of compressing as AsyncIterable<Buffer>) {
      size += piece.length
      yield piece
    }
  })()
  const labels = { 'containerd.io/uncompressed': digest }
  // Its size is known when it ends.
  const made = await ingest(deps, { ref: `compress-blob-${digest}`, size: 0, labels, open: () => counted }, call)
  await feed
  return { digest: made.digest, size }
}

async function writeJson(deps: TransferDeps, mediaType: string, value: object, call: Call): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(value))
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  const descriptor = { mediaType, digest, size: bytes.length }
  const open = async function* (offset: number) {
    yield bytes.subarray(offset)
  }
  await ingest(deps, { ref: refOf(descriptor), size: bytes.length, digest, open }, call)
  return descriptor
}
