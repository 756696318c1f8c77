import type { ImageExportStream, ImageStore } from '@flotilla/api/containerd/types/transfer/transfer'
import type { Descriptor } from '@flotilla/oci'
import { type Call, notFound, unimplemented } from '@flotilla/rpc'
import { archiveOf } from './archive-writer.ts'
import { sendBytes } from './byte-stream.ts'
import type { TransferDeps } from './deps.ts'
import { fromWire } from './descriptor.ts'
import { holding } from './lease.ts'
import type { Progress } from './progress.ts'

export interface NamedImage {
  readonly name: string
  readonly target: Descriptor
}

/** Sends images to a client as one archive. */
export async function exportImages(
  deps: TransferDeps,
  store: ImageStore,
  destination: ImageExportStream,
  progress: Progress,
  call: Call,
): Promise<void> {
  progress.report('Exporting')
  const images = await imagesOf(deps, store, call)
  const stream = deps.streams.get(destination.stream, call)
  const targets = images.map(({ target }) => target)
  await holding(deps, targets, call, (held) => sendBytes(stream, archiveOf(deps, images, destination, held)))
  progress.report('Completed export')
}

async function imagesOf(deps: TransferDeps, store: ImageStore, call: Call): Promise<NamedImage[]> {
  const names = store.name === '' ? [] : [store.name]
  for (const reference of store.extraReferences) {
    if (reference.isPrefix) throw unimplemented('prefix lookup on export not implemented')
    names.push(reference.name)
  }
  const images: NamedImage[] = []
  for (const name of names) {
    const { image } = await deps.images.get({ name }, call)
    if (image?.target === undefined) throw notFound(`image "${name}"`)
    images.push({ name, target: fromWire(image.target) })
  }
  return images
}
