import type { Image } from '@flotilla/api/containerd/services/images/v1/images'
import { Descriptor } from '@flotilla/api/containerd/types/types'
import { maskedKey, withMaskedKey, withoutEmpty } from '@flotilla/metadata'
import { invalidArgument } from '@flotilla/rpc'

const withAnnotations = (image: Image, annotations: Record<string, string>): Image => ({
  ...image,
  target: { ...(image.target ?? Descriptor.fromPartial({})), annotations },
})

/**
 * The stored image with what the mask names taken from the requested one; without paths all of labels and target.
 *
 * @throws INVALID_ARGUMENT for a path that is unknown or cannot change
 */
export function updatedImage(stored: Image, requested: Image, mask: readonly string[] | undefined): Image {
  if (mask === undefined || mask.length === 0)
    return { ...stored, labels: withoutEmpty(requested.labels), target: requested.target }
  let image = stored
  for (const path of mask) {
    const label = maskedKey(path, 'labels')
    const annotation = maskedKey(path, 'annotations')
    const annotations = requested.target?.annotations ?? {}
    if (label) image = { ...image, labels: withMaskedKey(image.labels, requested.labels, label) }
    else if (annotation)
      image = withAnnotations(image, withMaskedKey(image.target?.annotations ?? {}, annotations, annotation))
    else if (path === 'labels') image = { ...image, labels: withoutEmpty(requested.labels) }
    else if (path === 'target') image = { ...image, target: requested.target }
    else if (path === 'annotations') image = withAnnotations(image, annotations)
    else throw invalidArgument(`cannot update "${path}" field on image "${stored.name}"`)
  }
  return image
}
