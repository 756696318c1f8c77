import { descriptorOf, type TestImage } from './image.ts'
import { type LayerEntry, tarOf } from './layer.ts'

const blobPath = (digest: string) => `blobs/${digest.replace(':', '/')}`

/** An OCI image layout as a tar, with one name; what `ctr image import` and `docker load` read. */
export async function ociArchive(image: TestImage, name: string): Promise<Buffer> {
  const tag = name.slice(name.lastIndexOf(':') + 1)
  const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': tag }
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [{ ...descriptorOf(image.target), annotations }],
  }
  const blobs = new Map(image.blobs.map((blob) => [blob.digest, blob]))
  const entries: LayerEntry[] = [
    { name: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
    { name: 'index.json', content: JSON.stringify(index) },
    { name: 'blobs', type: 'directory' },
    { name: 'blobs/sha256', type: 'directory' },
    ...[...blobs.values()].map((blob): LayerEntry => ({ name: blobPath(blob.digest), content: blob.bytes })),
  ]
  return tarOf(entries)
}

/** What `docker save` wrote before Docker 25: manifest.json, a config and layer tars, without any OCI file. */
export async function dockerArchive(image: TestImage, name: string): Promise<Buffer> {
  const configName = `${image.config.digest.slice('sha256:'.length)}.json`
  const layerName = (diffId: string) => `${diffId.slice('sha256:'.length)}/layer.tar`
  const manifest = [
    { Config: configName, RepoTags: [name], Layers: image.layers.map((layer) => layerName(layer.diffId)) },
  ]
  return tarOf([
    ...image.layers.map((layer): LayerEntry => ({ name: layerName(layer.diffId), content: layer.bytes })),
    { name: configName, content: image.config.bytes },
    { name: 'manifest.json', content: JSON.stringify(manifest) },
  ])
}
