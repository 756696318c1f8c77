import type { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import type { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { blobNodes, type Metadata } from '@flotilla/metadata'
import { makeCall, type ServiceOf } from '@flotilla/rpc'

interface Descriptor {
  readonly digest?: string
  readonly size?: number
}

interface Manifest {
  readonly manifests?: readonly Descriptor[]
  readonly layers?: readonly Descriptor[]
}

/** Milliseconds for all that has to be read. */
const patience = 3_000
/** Bytes that a manifest may have. */
const largest = 4 * 1024 * 1024

/**
 * How many bytes of an image's layers each node has on its disk. Nothing is near for an image that cannot be read: then
 * the load alone decides.
 */
export async function nearnessOfImage(
  parts: {
    readonly metadata: Metadata
    readonly images: Pick<ServiceOf<ImagesDefinition>, 'get'>
    readonly content: Pick<ServiceOf<ContentDefinition>, 'read'>
  },
  namespace: string,
  name: string,
): Promise<ReadonlyMap<string, number>> {
  const near = new Map<string, number>()
  if (name === '') return near
  const call = makeCall({ namespace, timeout: patience })

  async function manifest({ digest, size }: Descriptor): Promise<Manifest> {
    if (!digest || (size ?? 0) > largest) return {}
    const pieces: Uint8Array[] = []
    for await (const { data } of parts.content.read({ digest, offset: 0, size: 0 }, call)) pieces.push(data)
    return JSON.parse(Buffer.concat(pieces).toString()) as Manifest
  }
  async function count(descriptor: Descriptor, depth: number): Promise<void> {
    const { layers = [], manifests = [] } = await manifest(descriptor)
    for (const { digest, size = 0 } of layers)
      for (const node of await blobNodes(parts.metadata, digest ?? '')) near.set(node, (near.get(node) ?? 0) + size)
    // Manifests of other platforms are usually not there.
    if (depth < 2) for (const one of manifests) await count(one, depth + 1).catch(() => {})
  }
  try {
    const { image } = await parts.images.get({ name }, call)
    if (image?.target) await count(image.target, 0)
  } catch {
    // No such image, or one that is no image: any node is as good as another.
  }
  return near
}
