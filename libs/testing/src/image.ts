import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { type Blob, type Compression, epoch, jsonBlob, type LayerBlob, type LayerEntry, layerOf } from './layer.ts'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
  readonly platform?: { readonly architecture: string; readonly os: string }
}

/** What a container made from the image begins with; field names as in an image config. */
export interface ContainerConfig {
  readonly Cmd?: readonly string[]
  readonly Entrypoint?: readonly string[]
  readonly Env?: readonly string[]
  readonly Labels?: Readonly<Record<string, string>>
  readonly User?: string
  readonly Volumes?: Readonly<Record<string, object>>
  readonly WorkingDir?: string
  readonly StopSignal?: string
}

export interface ImageOptions {
  /** Layers on top of busybox's: entries, a tar, or what is a layer already. */
  readonly layers?: ReadonlyArray<readonly LayerEntry[] | Buffer | LayerBlob>
  /** Without busybox's layer below: then the layers above are all. */
  readonly scratch?: boolean
  readonly config?: ContainerConfig
  readonly compression?: Compression
  /** The target is an index that names the manifest. */
  readonly index?: boolean
  readonly annotations?: Readonly<Record<string, string>>
}

export interface TestImage {
  /** What a tag names: the index if there is one, else the manifest. */
  readonly target: Blob
  readonly index: Blob | undefined
  readonly manifest: Blob
  readonly config: Blob
  readonly layers: readonly LayerBlob[]
  /** Every blob, those that are named before those that name them. */
  readonly blobs: readonly Blob[]
}

const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const indexType = 'application/vnd.oci.image.index.v1+json'
const configType = 'application/vnd.oci.image.config.v1+json'

const platform = { architecture: process.arch === 'arm64' ? 'arm64' : 'amd64', os: 'linux' }

export function descriptorOf(blob: Blob): Descriptor {
  const { mediaType, digest, size, annotations } = blob
  return { mediaType, digest, size, ...(annotations ? { annotations } : {}) }
}

/** A root file system of Debian's static busybox: every applet as a symbolic link, users root and nobody. */
export function busyboxEntries(): LayerEntry[] {
  const directory = (name: string, mode = 0o755): LayerEntry => ({ name, type: 'directory', mode })
  const applets = execFileSync('busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n').sort()
  return [
    ...['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'usr', 'var', 'home'].map((name) => directory(name)),
    directory('tmp', 0o1777),
    {
      name: 'etc/passwd',
      mode: 0o644,
      content: 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/home:/bin/sh\n',
    },
    { name: 'etc/group', mode: 0o644, content: 'root:x:0:\nnogroup:x:65534:\n' },
    { name: 'bin/busybox', mode: 0o755, content: readFileSync('/bin/busybox') },
    ...applets
      .filter((name) => name !== 'busybox')
      .map((name): LayerEntry => ({ name: `bin/${name}`, type: 'symlink', linkname: 'busybox', mode: 0o777 })),
  ]
}

/**
 * Builds a small OCI image from the machine's busybox (about 1 MB compressed). Equal options give equal digests.
 *
 * @example const image = await buildImage({ config: { Cmd: ['echo', 'hello'] } })
 */
export async function buildImage(options: ImageOptions = {}): Promise<TestImage> {
  const compression = options.compression ?? 'gzip'
  const layers: LayerBlob[] = []
  if (!options.scratch) layers.push(await layerOf(busyboxEntries(), compression))
  for (const layer of options.layers ?? []) layers.push('diffId' in layer ? layer : await layerOf(layer, compression))

  const config = jsonBlob(configType, {
    created: epoch.toISOString(),
    ...platform,
    config: { Env: ['PATH=/bin'], Cmd: ['sh'], ...options.config },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map(() => ({ created: epoch.toISOString(), created_by: 'flotilla testing' })),
  })
  const manifest = jsonBlob(manifestType, {
    schemaVersion: 2,
    mediaType: manifestType,
    config: descriptorOf(config),
    layers: layers.map(descriptorOf),
    ...(options.annotations === undefined ? {} : { annotations: options.annotations }),
  })
  const index = options.index ? indexOf([{ ...descriptorOf(manifest), platform }]) : undefined
  const blobs = [...layers, config, manifest, ...(index === undefined ? [] : [index])]
  return { target: index ?? manifest, index, manifest, config, layers, blobs }
}

/** An index that names the given manifests. */
export function indexOf(manifests: readonly Descriptor[]): Blob {
  return jsonBlob(indexType, { schemaVersion: 2, mediaType: indexType, manifests })
}
