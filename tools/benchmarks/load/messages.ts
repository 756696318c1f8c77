import {
  Container,
  CreateContainerRequest,
  GetContainerRequest,
} from '@flotilla/api/containerd/services/containers/v1/containers'
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
} as const

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
