import type { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import { maskedKey, withMaskedKey, withoutEmpty } from '@flotilla/metadata'
import { invalidArgument } from '@flotilla/rpc'
import { keepNode } from './placement.ts'
import { validateContainer } from './validate.ts'

/** What an update without a mask replaces. */
const everything = ['labels', 'spec', 'extensions', 'image', 'snapshotkey']

/** One path of the mask applied. */
function applied(container: Container, requested: Container, path: string): Container {
  const label = maskedKey(path, 'labels')
  if (label) return { ...container, labels: withMaskedKey(container.labels, requested.labels, label) }
  const extension = maskedKey(path, 'extensions')
  if (extension !== undefined)
    return { ...container, extensions: withMaskedKey(container.extensions, requested.extensions, extension) }
  switch (path) {
    case 'labels':
      return { ...container, labels: withoutEmpty(requested.labels) }
    case 'spec':
      return { ...container, spec: requested.spec }
    case 'extensions':
      return { ...container, extensions: requested.extensions }
    case 'image':
      return { ...container, image: requested.image }
    case 'snapshotkey':
      return { ...container, snapshotKey: requested.snapshotKey }
    default:
      throw invalidArgument(`cannot update "${path}" field on "${container.id}"`)
  }
}

/**
 * The stored container with what the mask names taken from the requested one, validated.
 *
 * @throws INVALID_ARGUMENT for an unknown path, for what cannot change, and for a result that is no container
 */
export function updatedContainer(stored: Container, requested: Container, mask?: readonly string[]): Container {
  const paths = mask === undefined || mask.length === 0 ? everything : mask
  if (paths === everything) {
    if (requested.snapshotter !== stored.snapshotter) throw invalidArgument('container.Snapshotter field is immutable')
    if (requested.runtime?.name !== stored.runtime?.name)
      throw invalidArgument('container.Runtime.Name field is immutable')
  }
  const changed = paths.reduce((container, path) => applied(container, requested, path), stored)
  const next = { ...changed, labels: keepNode(stored.id, stored.labels, changed.labels) }
  validateContainer(next, 'update failed validation: ')
  if (next.spec === undefined) throw invalidArgument('update failed validation: container.Spec must be set')
  return next
}
