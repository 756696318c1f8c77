import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { appendFile, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buildImage, type Descriptor, pushImage, startRegistry, type TestRegistry } from '@flotilla/testing'
import { makeContent } from './content.ts'
import { digestOfFile, type LayerFile, type LayerPlan, writeBlob, writeLayer } from './layers.ts'

const MiB = 1024 * 1024

/** The images by name; what they hold at full size. */
const plans = {
  'one-layer': { layers: 1, files: 32_000, bytes: 768 * MiB, compression: 'gzip' },
  'one-layer-zstd': { layers: 1, files: 32_000, bytes: 768 * MiB, compression: 'zstd' },
  '20-layers': { layers: 20, files: 1_600, bytes: 38 * MiB, compression: 'gzip' },
  '200-layers': { layers: 200, files: 20, bytes: 0.4 * MiB, compression: 'gzip' },
  'one-file': { layers: 1, files: 1, bytes: 1024 * MiB, compression: 'gzip' },
} as const

export type ImageName = keyof typeof plans

/** Images that are generated, the same every time, kept in a directory for the next run. */
export interface BenchImages extends AsyncDisposable {
  /** Makes the image, if it was not made before, and puts it into the registry; gives its reference there. */
  pushed(name: ImageName | 'busybox'): Promise<string>
  /** The image as an OCI archive: its path. */
  archive(name: ImageName): Promise<string>
  /** Digests and sizes: manifest, config, layers. */
  about(name: ImageName): Promise<Made>
  /** A file of 1 GiB. */
  blob(): Promise<{ readonly path: string; readonly digest: string; readonly size: number }>
}

export interface Made {
  readonly manifest: Descriptor
  readonly config: Descriptor
  readonly layers: readonly LayerFile[]
  /** Directory of an OCI layout. */
  readonly layout: string
}

/** @param home where images are kept @param shrink divides the files and bytes of each layer */
export function benchImages(home: string, shrink: number): BenchImages {
  let content: Buffer | undefined
  let blobDigest: Promise<string> | undefined
  let registry: Promise<TestRegistry> | undefined
  const references = new Map<string, Promise<string>>()
  const made = new Map<ImageName, Promise<Made>>()

  async function make(name: ImageName): Promise<Made> {
    const layout = join(home, `${name}-by-${shrink}`)
    const record = join(layout, 'made.json')
    if (existsSync(record)) return { ...JSON.parse(readFileSync(record, 'utf8')), layout }
    process.stderr.write(`bench: making image ${name}\n`)
    const building = `${layout}.building-${process.pid}`
    await rm(building, { recursive: true, force: true })
    await mkdir(building, { recursive: true })
    content ??= makeContent()
    const { layers: count, files, bytes, compression } = plans[name]
    const layers: LayerFile[] = []
    const blobs = join(building, 'blobs/sha256')
    for (let index = 0; index < count; index++) {
      const plan: LayerPlan = {
        seed: index + 1,
        files: Math.ceil(files / shrink),
        bytes: Math.ceil(bytes / shrink),
        compression,
      }
      layers.push(await writeLayer(plan, blobs, content))
    }
    await writeFile(join(building, 'made.json'), JSON.stringify(await describe(name, blobs, building, layers)))
    await rm(layout, { recursive: true, force: true })
    await rename(building, layout)
    return make(name)
  }

  const about = (name: ImageName) => {
    const known = made.get(name) ?? make(name)
    made.set(name, known)
    return known
  }

  async function push(name: ImageName | 'busybox'): Promise<string> {
    registry ??= startRegistry()
    const to = await registry
    if (name === 'busybox') return pushImage(to, 'bench/busybox:1', await buildImage())
    const { manifest, config, layers, layout } = await about(name)
    const blob = (descriptor: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>) => ({
      ...descriptor,
      get bytes() {
        return readFileSync(join(layout, 'blobs/sha256', descriptor.digest.slice('sha256:'.length)))
      },
    })
    const [top, bottom] = [blob(manifest), blob(config)]
    const blobs = [...layers.map(blob), bottom, top]
    return pushImage(to, `bench/${name}:1`, {
      target: top,
      index: undefined,
      manifest: top,
      config: bottom,
      layers: [],
      blobs,
    })
  }

  return {
    about,
    pushed(name) {
      const known = references.get(name) ?? push(name)
      references.set(name, known)
      return known
    },
    async archive(name) {
      const { layout } = await about(name)
      const archive = `${layout}.tar`
      if (!existsSync(archive)) {
        execFileSync('tar', ['-cf', `${archive}.new`, '-C', layout, 'oci-layout', 'index.json', 'blobs'])
        await rename(`${archive}.new`, archive)
      }
      return archive
    },
    async blob() {
      const path = join(home, `blob-by-${shrink}`)
      const size = Math.ceil((1024 * MiB) / shrink)
      if (!existsSync(path)) {
        content ??= makeContent()
        await rm(`${path}.new`, { force: true })
        for (let at = 0; at < size; at += content.length)
          await appendFile(`${path}.new`, content.subarray(0, Math.min(content.length, size - at)))
        await rename(`${path}.new`, path)
      }
      blobDigest ??= digestOfFile(path)
      return { path, size, digest: await blobDigest }
    },
    async [Symbol.asyncDispose]() {
      await (await registry)?.[Symbol.asyncDispose]()
    },
  }
}

async function describe(name: ImageName, blobs: string, layout: string, layers: readonly LayerFile[]) {
  const platform = { architecture: process.arch === 'arm64' ? 'arm64' : 'amd64', os: 'linux' }
  const put = async (mediaType: string, value: unknown): Promise<Descriptor> => {
    const bytes = Buffer.from(JSON.stringify(value))
    return { mediaType, digest: await writeBlob(blobs, bytes), size: bytes.length }
  }
  const config = await put('application/vnd.oci.image.config.v1+json', {
    ...platform,
    config: { Cmd: ['true'] },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
  })
  const manifest = await put('application/vnd.oci.image.manifest.v1+json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config,
    layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  })
  const annotations = { 'io.containerd.image.name': `bench.local/${name}:1`, 'org.opencontainers.image.ref.name': '1' }
  await writeFile(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  await writeFile(
    join(layout, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [{ ...manifest, annotations }],
    }),
  )
  return { manifest, config, layers }
}
