import type { ImageStore } from '@flotilla/api/containerd/types/transfer/transfer'
import { type Call, notFound } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'
import { fromWire } from './descriptor.ts'
import { namesOf } from './image-names.ts'
import { holding } from './lease.ts'
import { saveImage } from './save-image.ts'

/** Gives an image further names. */
export async function tag(deps: TransferDeps, source: ImageStore, store: ImageStore, call: Call): Promise<void> {
  const { image } = await deps.images.get({ name: source.name }, call)
  const target = image?.target
  if (target === undefined) throw notFound(`image "${source.name}"`)
  const names = namesOf(store, fromWire(target))
  if (names.length === 0) throw notFound('no image name found')
  await holding(deps, [fromWire(target)], call, async (held) => {
    for (const name of names) await saveImage(deps, name, target, store.labels, held)
  })
}
