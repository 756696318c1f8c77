import type { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import type { Info as ContentInfo, Status } from '@flotilla/api/containerd/services/content/v1/content'
import type { Image } from '@flotilla/api/containerd/services/images/v1/images'
import type { Plugin } from '@flotilla/api/containerd/services/introspection/v1/introspection'
import type { Lease } from '@flotilla/api/containerd/services/leases/v1/leases'
import { Kind, type Info as SnapshotInfo } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import type { ActivationInfo, Sandbox } from '@flotilla/api/containerd/types/types'
import type { Adaptor, FieldValue } from './filter.ts'

export const absent: FieldValue = { value: '', present: false }

/** A field that is there when it is not empty. */
export const text = (value: string | undefined): FieldValue => (value ? { value, present: true } : absent)

/** A field that every object has, be it empty. */
const always = (value: string): FieldValue => ({ value, present: true })

/** A key of a map. Dots in keys need no quotes: the rest of the path is joined again. */
export function entry(map: Readonly<Record<string, string>> | undefined, rest: readonly string[]): FieldValue {
  const key = rest.join('.')
  const value = map !== undefined && Object.hasOwn(map, key) ? map[key] : undefined
  return value === undefined ? absent : { value, present: true }
}

/** Fields `name`, `target.digest`, `target.mediatype`, `labels.K`, `annotations.K` (of the target). */
export const imageFields =
  (image: Image): Adaptor =>
  ([first, ...rest]) => {
    if (first === 'name') return text(image.name)
    if (first === 'labels') return entry(image.labels, rest)
    if (first === 'annotations') return entry(image.target?.annotations, rest)
    if (first !== 'target') return absent
    if (rest[0] === 'digest') return text(image.target?.digest)
    return rest[0] === 'mediatype' ? text(image.target?.mediaType) : absent
  }

/** Fields `id`, `image`, `runtime.name`, `labels.K`. */
export const containerFields =
  (container: Container): Adaptor =>
  ([first, ...rest]) => {
    if (first === 'id') return text(container.id)
    if (first === 'image') return text(container.image)
    if (first === 'labels') return entry(container.labels, rest)
    return first === 'runtime' && rest[0] === 'name' ? text(container.runtime?.name) : absent
  }

/** Fields `digest`, `labels.K`. */
export const contentFields =
  (info: ContentInfo): Adaptor =>
  ([first, ...rest]) =>
    first === 'digest' ? always(info.digest) : first === 'labels' ? entry(info.labels, rest) : absent

/** Field `ref`. */
export const ingestFields =
  (status: Pick<Status, 'ref'>): Adaptor =>
  ([first]) =>
    first === 'ref' ? always(status.ref) : absent

/** Fields `id`, `labels.K`. */
export const leaseFields =
  (lease: Lease): Adaptor =>
  ([first, ...rest]) =>
    first === 'id' ? text(lease.id) : first === 'labels' ? entry(lease.labels, rest) : absent

const kindNames: Readonly<Record<number, string>> = {
  [Kind.ACTIVE]: 'active',
  [Kind.VIEW]: 'view',
  [Kind.COMMITTED]: 'committed',
}

/** Fields `kind` (`active`, `view`, `committed`), `name`, `parent`, `labels.K`. */
export const snapshotFields =
  (info: SnapshotInfo): Adaptor =>
  ([first, ...rest]) => {
    if (first === 'kind') return text(kindNames[info.kind])
    if (first === 'name') return always(info.name)
    if (first === 'parent') return always(info.parent)
    return first === 'labels' ? entry(info.labels, rest) : absent
  }

/** Fields `id`, `labels.K`. */
export const sandboxFields =
  (sandbox: Sandbox): Adaptor =>
  ([first, ...rest]) =>
    first === 'id' ? text(sandbox.sandboxId) : first === 'labels' ? entry(sandbox.labels, rest) : absent

/** Fields `name`, `labels.K`. */
export const activationFields =
  (info: ActivationInfo): Adaptor =>
  ([first, ...rest]) =>
    first === 'name' ? text(info.name) : first === 'labels' ? entry(info.labels, rest) : absent

/** Fields `type`, `id`. */
export const pluginFields =
  (plugin: Plugin): Adaptor =>
  ([first]) =>
    first === 'type' ? text(plugin.type) : first === 'id' ? text(plugin.id) : absent
