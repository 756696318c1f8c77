import * as events from '@flotilla/api/containerd/events/events'
import { ImageCreate, ImageDelete, ImageUpdate } from '@flotilla/api/containerd/services/images/v1/images'
import type { Envelope } from '@flotilla/api/containerd/types/types'
import type { WireType } from '@flotilla/rpc'
import type { Adaptor, FieldValue } from './filter.ts'
import { absent, entry, text } from './objects.ts'

type Payload = (value: Uint8Array) => Adaptor

/** Fields of a payload by their proto names; numbers, times and bytes are none. */
type Fields<T> = Readonly<Record<string, (message: T) => string | boolean | Readonly<Record<string, string>>>>

function payload<T>(type: WireType<T>, fields: Fields<T>): Payload {
  return (value) => {
    let message: T
    try {
      message = type.decode(value)
    } catch {
      // A payload that is not what its type says has no fields; its envelope can still match.
      return () => absent
    }
    return (path) => {
      const labels = path[0] === 'labels'
      const name = labels ? 'labels' : path.join('.')
      const found = Object.hasOwn(fields, name) ? fields[name]?.(message) : undefined
      if (found === undefined) return absent
      if (typeof found === 'boolean') return { value: String(found), present: true }
      return typeof found === 'string' ? text(found) : entry(found, path.slice(1))
    }
  }
}

const container = { container_id: (event: { containerId: string }) => event.containerId }
const sandbox = { sandbox_id: (event: { sandboxId: string }) => event.sandboxId }
const named = { name: (event: { name: string }) => event.name }
const labelled = { ...named, labels: (event: { labels: Record<string, string> }) => event.labels }
const snapshot = {
  key: (event: { key: string }) => event.key,
  snapshotter: (event: { snapshotter: string }) => event.snapshotter,
}

const payloads: Readonly<Record<string, Payload>> = {
  'containerd.events.ContainerCreate': payload(events.ContainerCreate, {
    id: (event) => event.id,
    image: (event) => event.image,
    'runtime.name': (event) => event.runtime?.name ?? '',
  }),
  'containerd.events.ContainerUpdate': payload(events.ContainerUpdate, {
    id: (event) => event.id,
    image: (event) => event.image,
    labels: (event) => event.labels,
    snapshot_key: (event) => event.snapshotKey,
  }),
  'containerd.events.ContainerDelete': payload(events.ContainerDelete, { id: (event) => event.id }),
  'containerd.events.ContentCreate': payload(events.ContentCreate, {
    digest: (event) => event.digest,
    mediaType: (event) => event.mediaType,
  }),
  'containerd.events.ContentDelete': payload(events.ContentDelete, { digest: (event) => event.digest }),
  // The images API declares its events in its own package; clients decode them by that name.
  'containerd.services.images.v1.ImageCreate': payload(ImageCreate, labelled),
  'containerd.services.images.v1.ImageUpdate': payload(ImageUpdate, labelled),
  'containerd.services.images.v1.ImageDelete': payload(ImageDelete, named),
  'containerd.events.NamespaceCreate': payload(events.NamespaceCreate, labelled),
  'containerd.events.NamespaceUpdate': payload(events.NamespaceUpdate, labelled),
  'containerd.events.NamespaceDelete': payload(events.NamespaceDelete, named),
  'containerd.events.SnapshotPrepare': payload(events.SnapshotPrepare, {
    ...snapshot,
    parent: (event) => event.parent,
  }),
  'containerd.events.SnapshotCommit': payload(events.SnapshotCommit, { ...snapshot, ...named }),
  'containerd.events.SnapshotRemove': payload(events.SnapshotRemove, snapshot),
  'containerd.events.TaskCreate': payload(events.TaskCreate, {
    ...container,
    bundle: (event) => event.bundle,
    checkpoint: (event) => event.checkpoint,
    'io.stdin': (event) => event.io?.stdin ?? '',
    'io.stdout': (event) => event.io?.stdout ?? '',
    'io.stderr': (event) => event.io?.stderr ?? '',
    'io.terminal': (event) => event.io?.terminal ?? '',
  }),
  'containerd.events.TaskStart': payload(events.TaskStart, container),
  'containerd.events.TaskExit': payload(events.TaskExit, { ...container, id: (event) => event.id }),
  'containerd.events.TaskDelete': payload(events.TaskDelete, { ...container, id: (event) => event.id }),
  'containerd.events.TaskOOM': payload(events.TaskOOM, container),
  'containerd.events.TaskPaused': payload(events.TaskPaused, container),
  'containerd.events.TaskResumed': payload(events.TaskResumed, container),
  'containerd.events.TaskExecAdded': payload(events.TaskExecAdded, { ...container, exec_id: (event) => event.execId }),
  'containerd.events.TaskExecStarted': payload(events.TaskExecStarted, {
    ...container,
    exec_id: (event) => event.execId,
  }),
  'containerd.events.TaskCheckpointed': payload(events.TaskCheckpointed, {
    ...container,
    checkpoint: (event) => event.checkpoint,
  }),
  'containerd.events.SandboxCreate': payload(events.SandboxCreate, sandbox),
  'containerd.events.SandboxStart': payload(events.SandboxStart, sandbox),
  'containerd.events.SandboxExit': payload(events.SandboxExit, sandbox),
}

/**
 * Fields `namespace`, `topic` and `event.FIELD` of an event. The payload is decoded when a filter first asks for one of
 * its fields, and once for all filters that are given the same adaptor.
 */
export function eventFields(envelope: Envelope): Adaptor {
  let fields: Adaptor | undefined
  return ([first, ...rest]): FieldValue => {
    if (first === 'namespace') return text(envelope.namespace)
    if (first === 'topic') return text(envelope.topic)
    if (first !== 'event' || envelope.event === undefined) return absent
    const { typeUrl, value } = envelope.event
    const name = typeUrl.slice(typeUrl.lastIndexOf('/') + 1)
    fields ??= (Object.hasOwn(payloads, name) ? payloads[name]?.(value) : undefined) ?? (() => absent)
    return fields(rest)
  }
}
