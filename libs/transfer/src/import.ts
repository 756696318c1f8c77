import type { ImageImportStream, ImageStore } from '@flotilla/api/containerd/types/transfer/transfer'
import { type Descriptor, kindOf, mediaTypes } from '@flotilla/oci'
import { type Call, failedPrecondition } from '@flotilla/rpc'
import { readArchive } from './archive-reader.ts'
import { receiveBytes } from './byte-stream.ts'
import { labels } from './content-labels.ts'
import type { TransferDeps } from './deps.ts'
import { toWire } from './descriptor.ts'
import { indexOfDockerArchive } from './docker-archive.ts'
import { namesByAnnotation, namesOf } from './image-names.ts'
import { underLease } from './lease.ts'
import type { Progress } from './progress.ts'
import { saveImage } from './save-image.ts'
import { childLabels, childrenOf, parseObject, selected } from './tree.ts'
import { unpackImage } from './unpack-images.ts'

/** Takes the images of an archive that a client sends into content, unpacks them and gives them their names. */
export async function importArchive(
  deps: TransferDeps,
  source: ImageImportStream,
  store: ImageStore,
  progress: Progress,
  call: Call,
): Promise<void> {
  await underLease(deps, call, async (leased) => {
    progress.report('Importing')
    const bytes = receiveBytes(deps.streams.get(source.stream, leased))
    const archive = await readArchive(deps, bytes, source.mediaType === '', leased)
    const index =
      archive.layout === undefined
        ? await indexOfDockerArchive(deps, archive, source.forceCompress, leased)
        : indexOfLayout(archive.layout, archive.blobs.get('index.json'))
    await complete(deps, index, store, leased)

    const save = async (target: Descriptor, names: readonly string[]) => {
      for (const name of names) {
        await saveImage(deps, name, toWire(target), store.labels, leased)
        progress.report('saved', { name, desc: toWire(target) })
      }
    }
    await save(index, namesOf(store, index))
    for (const image of await childrenOf(deps, index, leased)) await save(image, namesByAnnotation(store, image))
    progress.report('Completed import')
  })
}

function indexOfLayout(layout: Buffer, index: { digest: string; size: number } | undefined): Descriptor {
  const version = parseObject(layout, 'oci-layout').imageLayoutVersion
  if (version !== '1.0.0') throw failedPrecondition(`unsupported OCI version ${JSON.stringify(version)}`)
  if (index === undefined) throw failedPrecondition('missing index.json in OCI layout 1.0.0')
  return { mediaType: mediaTypes.ociIndex, ...index }
}

/** Labels everything that an index names, so that it stays, and unpacks what is to be unpacked. */
async function complete(deps: TransferDeps, index: Descriptor, store: ImageStore, call: Call): Promise<void> {
  const seen = new Set<string>()
  const walk = async (descriptor: Descriptor): Promise<void> => {
    const kind = kindOf(descriptor)
    if ((kind !== 'manifest' && kind !== 'index') || seen.has(descriptor.digest)) return
    seen.add(descriptor.digest)
    const children = await childrenOf(deps, descriptor, call)
    await labels(deps, descriptor.digest, childLabels(children), call)
    const wanted = selected(descriptor, children, store)
    const unpacking = { manifest: descriptor, children: wanted }
    if (kind === 'manifest') await unpackImage(deps, store, unpacking, { ready: async () => {} }, undefined, call)
    else for (const child of wanted) await walk(child)
  }
  await walk(index)
}
