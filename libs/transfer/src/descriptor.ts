import { Descriptor as WireDescriptor } from '@flotilla/api/containerd/types/types'
import type { Descriptor } from '@flotilla/oci'

export function toWire({ mediaType, digest, size, annotations = {} }: Descriptor): WireDescriptor {
  return WireDescriptor.fromPartial({ mediaType, digest, size, annotations: { ...annotations } })
}

export function fromWire({ mediaType, digest, size, annotations }: WireDescriptor): Descriptor {
  return { mediaType, digest, size, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) }
}
