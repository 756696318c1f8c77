import { createHash } from 'node:crypto'
import type { ImageExportStream } from '@flotilla/api/containerd/types/transfer/transfer'
import {
  type Descriptor,
  hostPlatform,
  isNonDistributable,
  kindOf,
  mediaTypes,
  rankOf,
  sourcePrefix,
} from '@flotilla/oci'
import { type Call, dataLoss, invalidArgument, notFound } from '@flotilla/rpc'
import { pack } from 'tar-stream'
import type { TransferDeps } from './deps.ts'
import type { NamedImage } from './export.ts'
import { annotations, familiarName, objectOf } from './image-names.ts'
import { childrenOf } from './tree.ts'

type Entry =
  | { readonly kind: 'blob'; readonly descriptor: Descriptor }
  | { readonly kind: 'text'; readonly text: string; readonly mode: number }
  | { readonly kind: 'directory' }

const epoch = new Date(0)

/** An OCI image layout as a tar, which older Docker reads too unless that is not wanted. */
export async function* archiveOf(
  deps: TransferDeps,
  images: readonly NamedImage[],
  options: ImageExportStream,
  call: Call,
): AsyncGenerator<Buffer> {
  const entries = await entriesOf(deps, images, options, call)
  const archive = pack()
  const writing = write(deps, archive, entries, call)
  writing.catch((error: unknown) => archive.destroy(error instanceof Error ? error : new Error(String(error))))
  try {
    yield* archive as AsyncIterable<Buffer>
    await writing
  } catch (error) {
    // What the writer met explains more than the broken archive.
    await writing
    throw error
  } finally {
    archive.destroy(new Error('nobody reads the archive any more'))
  }
}

async function write(
  deps: TransferDeps,
  archive: ReturnType<typeof pack>,
  entries: ReadonlyMap<string, Entry>,
  call: Call,
): Promise<void> {
  for (const [name, entry] of [...entries].sort(([one], [other]) => (one < other ? -1 : 1))) {
    switch (entry.kind) {
      case 'directory':
        archive.entry({ name, type: 'directory', mode: 0o755, mtime: epoch })
        break
      case 'text':
        archive.entry({ name, mode: entry.mode, mtime: epoch }, entry.text)
        break
      case 'blob': {
        const { digest, size } = entry.descriptor
        const ended = Promise.withResolvers<void>()
        const sink = archive.entry({ name, size, mode: 0o444, mtime: epoch }, (error) =>
          error ? ended.reject(error) : ended.resolve(),
        )
        ended.promise.catch(() => {})
        // It fails with the archive, whose reader is told; an error that nobody listens for would end the process.
        sink.on('error', () => {})
        const [algorithm = ''] = digest.split(':')
        const hash = createHash(algorithm)
        for await (const { data } of deps.content.read({ digest, offset: 0, size: 0 }, call)) {
          hash.update(data)
          if (!sink.write(data)) await drained(sink)
        }
        const found = `${algorithm}:${hash.digest('hex')}`
        if (found !== digest) throw dataLoss(`content ${digest}: unexpected digest ${found} copied`)
        sink.end(undefined)
        await ended.promise
      }
    }
  }
  archive.finalize()
}

function drained(sink: { once(event: 'drain' | 'close', then: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => {
    sink.once('drain', resolve)
    sink.once('close', resolve)
  })
}

async function entriesOf(
  deps: TransferDeps,
  images: readonly NamedImage[],
  options: ImageExportStream,
  call: Call,
): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>()
  /** Manifest → names, for Docker. */
  const forDocker = new Map<string, { readonly manifest: Descriptor; readonly names: string[] }>()
  const named: Descriptor[] = []
  for (const { name, target } of images) {
    named.push(await withAnnotations(deps, name, target, call))
    const manifest = await addImage(deps, entries, target, options, call)
    if (manifest === undefined) continue
    const known = forDocker.get(manifest.digest) ?? { manifest, names: [] }
    known.names.push(familiarName(name))
    forDocker.set(manifest.digest, known)
  }
  const algorithms = new Set([...entries.keys()].map((path) => path.split('/')[1]))
  entries.set('blobs/', { kind: 'directory' })
  for (const algorithm of algorithms) entries.set(`blobs/${algorithm}/`, { kind: 'directory' })
  const text = (value: unknown, mode: number): Entry => ({ kind: 'text', text: JSON.stringify(value), mode })
  entries.set('oci-layout', text({ imageLayoutVersion: '1.0.0' }, 0o444))
  entries.set('index.json', text({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: named }, 0o644))
  if (!options.skipCompatibilityManifest && forDocker.size > 0) {
    const list: object[] = []
    for (const { manifest, names } of forDocker.values()) {
      const children = await childrenOf(deps, manifest, call)
      const [config, ...layers] = children.map(pathOf)
      list.push({ Config: config, RepoTags: names, Layers: layers })
    }
    entries.set('manifest.json', text(list, 0o644))
  }
  return entries
}

function pathOf({ digest }: Descriptor): string {
  return `blobs/${digest.replace(':', '/')}`
}

/** Adds what an image consists of; answers the manifest that Docker is to see. */
async function addImage(
  deps: TransferDeps,
  entries: Map<string, Entry>,
  target: Descriptor,
  options: ImageExportStream,
  call: Call,
): Promise<Descriptor | undefined> {
  const add = (descriptor: Descriptor) => {
    if (options.skipNonDistributable && isNonDistributable(descriptor)) return
    entries.set(pathOf(descriptor), { kind: 'blob', descriptor })
  }
  const addTree = async (descriptor: Descriptor): Promise<void> => {
    add(descriptor)
    for (const child of await childrenOf(deps, descriptor, call)) await addTree(child)
  }
  const kind = kindOf(target)
  if (kind === 'manifest') {
    await addTree(target)
    return target
  }
  if (kind !== 'index') throw invalidArgument('only manifests may be exported')
  add(target)
  const platforms = options.platforms.length > 0 ? options.platforms : [hostPlatform]
  const matching: Descriptor[] = []
  for (const manifest of await childrenOf(deps, target, call)) {
    const matches = manifest.platform === undefined || rankOf(platforms, manifest.platform) >= 0
    if (matches) matching.push(manifest)
    if (matches || options.allPlatforms) await addTree(manifest)
  }
  if (matching.length === 0) throw notFound('no manifest found for platform')
  const rank = ({ platform }: Descriptor) => (platform === undefined ? platforms.length : rankOf(platforms, platform))
  return matching.sort((one, other) => rank(one) - rank(other))[0]
}

/** The target with its name, and where it came from. */
async function withAnnotations(deps: TransferDeps, name: string, target: Descriptor, call: Call): Promise<Descriptor> {
  const { info } = await deps.content.info({ digest: target.digest }, call)
  const sources = Object.entries(info?.labels ?? {}).filter(([key]) => key.startsWith(sourcePrefix))
  return {
    ...target,
    annotations: {
      ...target.annotations,
      ...Object.fromEntries(sources),
      [annotations.name]: name,
      [annotations.reference]: objectOf(name),
    },
  }
}
