import type { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import { validateLabels } from '@flotilla/metadata'
import { invalidArgument, validateIdentifier } from '@flotilla/rpc'

/**
 * Checks a container as it is to be stored; `prefix` begins the message. Snapshot, image and runtime that it names need
 * not exist.
 */
export function validateContainer(container: Container, prefix: string): void {
  validateIdentifier(container.id, `${prefix}container.ID: `)
  if (Object.hasOwn(container.extensions, ''))
    throw invalidArgument(`${prefix}container.Extension keys must not be zero-length`)
  validateLabels(container.labels, `${prefix}containers.Labels: `)
  if (!container.runtime?.name) throw invalidArgument(`${prefix}container.Runtime.Name must be set`)
  if (container.snapshotKey !== '' && container.snapshotter === '')
    throw invalidArgument(`${prefix}container.Snapshotter must be set if container.SnapshotKey is set`)
}
