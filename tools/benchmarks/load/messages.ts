import {
  Container,
  CreateContainerRequest,
  GetContainerRequest,
} from '@flotilla/api/containerd/services/containers/v1/containers'
import { PublishRequest } from '@flotilla/api/containerd/services/events/v1/events'
import { CreateImageRequest } from '@flotilla/api/containerd/services/images/v1/images'
import { CreateRequest } from '@flotilla/api/containerd/services/leases/v1/leases'

/** Calls that callers can make: their path, and the message of the one with a number. */
export const messages = {
  'container create': {
    path: '/containerd.services.containers.v1.Containers/Create',
    of: (number: number) =>
      CreateContainerRequest.encode(CreateContainerRequest.fromPartial({ container: container(number) })).finish(),
  },
  'container get': {
    path: '/containerd.services.containers.v1.Containers/Get',
    of: (number: number) => GetContainerRequest.encode({ id: idOf(number) }).finish(),
  },
  'image create': {
    path: '/containerd.services.images.v1.Images/Create',
    of: (number: number) =>
      CreateImageRequest.encode(
        CreateImageRequest.fromPartial({ image: { name: `registry.local/app-${number}:1`, target, labels } }),
      ).finish(),
  },
  'lease create': {
    path: '/containerd.services.leases.v1.Leases/Create',
    of: (number: number) => CreateRequest.encode({ id: `lease-${number}`, labels }).finish(),
  },
  'expired lease create': {
    path: '/containerd.services.leases.v1.Leases/Create',
    of: (number: number) =>
      CreateRequest.encode({ id: `expired-${number}`, labels: { 'containerd.io/gc.expire': longAgo } }).finish(),
  },
  'event publish': {
    path: '/containerd.services.events.v1.Events/Publish',
    of: () => event(`${stampWord}${String(process.hrtime.bigint()).padStart(stampDigits, '0')}`),
    /** Its message says when it was sent, so it is made then. */
    late: true,
  },
  'probe publish': { path: '/containerd.services.events.v1.Events/Publish', of: () => event(probeWord) },
} as const

export const eventTopic = '/bench/event'
/** Begins the text of a measured event; nanoseconds of the machine's monotonic clock follow. */
export const stampWord = 'stamp:'
export const stampDigits = 20
/** The text of an event that shows a subscriber that it is subscribed. */
export const probeWord = 'probe'

const longAgo = '2020-01-01T00:00:00Z'

const event = (text: string) =>
  PublishRequest.encode({ topic: eventTopic, event: { typeUrl: 'bench/event', value: Buffer.from(text) } }).finish()

export type MessageName = keyof typeof messages

const idOf = (number: number) => `container-${String(number).padStart(6, '0')}`

const labels = { 'app.kubernetes.io/name': 'shop', 'io.cri-containerd.kind': 'container' }

const target = {
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  digest: `sha256:${'5'.repeat(64)}`,
  size: 1_234,
}

/** As large as ctr's: a specification of four kilobytes. */
const spec = Buffer.from(
  JSON.stringify({
    ociVersion: '1.1.0',
    process: { args: ['true'], env: Array.from({ length: 40 }, (_, at) => `VARIABLE_${at}=${'value '.repeat(12)}`) },
    root: { path: 'rootfs' },
  }),
)

function container(number: number): Container {
  return Container.fromPartial({
    id: idOf(number),
    image: 'registry.local/app:1',
    labels,
    snapshotter: 'overlayfs',
    snapshotKey: idOf(number),
    runtime: { name: 'io.containerd.runc.v2' },
    spec: { typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec', value: spec },
  })
}
