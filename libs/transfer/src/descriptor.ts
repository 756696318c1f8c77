import { Descriptor as WireDescriptor } from '@flotilla/api/containerd/types/types'
import { failedPrecondition } from '@flotilla/rpc'
import type { Platform } from './platform.ts'

/** A part of an image, as manifests name it. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
  readonly platform?: Partial<Platform>
  readonly urls?: readonly string[]
}

export const mediaTypes = {
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
} as const

export type Kind = 'manifest' | 'index' | 'config' | 'layer' | 'unknown'

export function kindOf({ mediaType }: Pick<Descriptor, 'mediaType'>): Kind {
  switch (mediaType) {
    case mediaTypes.dockerManifest:
    case mediaTypes.ociManifest:
      return 'manifest'
    case mediaTypes.dockerList:
    case mediaTypes.ociIndex:
      return 'index'
    case mediaTypes.dockerConfig:
    case mediaTypes.ociConfig:
      return 'config'
    default:
      return /^application\/vnd\.(oci\.image\.layer\.|docker\.image\.rootfs\.(foreign\.)?diff\.tar)/.test(mediaType)
        ? 'layer'
        : 'unknown'
  }
}

/** Layers that may not be passed on. */
export function isNonDistributable({ mediaType }: Pick<Descriptor, 'mediaType'>): boolean {
  return /\.foreign\.|\.nondistributable\./.test(mediaType)
}

/** By what ingests and progress name it. */
export function refOf(descriptor: Pick<Descriptor, 'mediaType' | 'digest'>): string {
  return `${kindOf(descriptor)}-${descriptor.digest}`
}

export function toWire({ mediaType, digest, size, annotations = {} }: Descriptor): WireDescriptor {
  return WireDescriptor.fromPartial({ mediaType, digest, size, annotations: { ...annotations } })
}

export function fromWire({ mediaType, digest, size, annotations }: WireDescriptor): Descriptor {
  return { mediaType, digest, size, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** A descriptor found in somebody's JSON. @throws FAILED_PRECONDITION naming `where` when it is none. */
export function checkedDescriptor(value: unknown, where: string): Descriptor {
  const wrong = (why: string) => failedPrecondition(`${where}: ${why}`)
  if (!isObject(value)) throw wrong('a descriptor is missing')
  const { digest, size, mediaType = '', annotations, platform, urls } = value
  if (typeof digest !== 'string' || !/^sha(256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})$/.test(digest))
    throw wrong(`invalid digest ${JSON.stringify(digest)}`)
  if (!Number.isSafeInteger(size) || (size as number) < 0)
    throw wrong(`invalid size ${JSON.stringify(size)} of ${digest}`)
  if (typeof mediaType !== 'string') throw wrong(`invalid media type of ${digest}`)
  return {
    mediaType,
    digest,
    size: size as number,
    ...(isObject(annotations) ? { annotations: strings(annotations) } : {}),
    ...(isObject(platform) ? { platform: strings(platform) } : {}),
    ...(Array.isArray(urls) ? { urls: urls.filter((url) => typeof url === 'string') } : {}),
  }
}

function strings(value: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
  )
}
