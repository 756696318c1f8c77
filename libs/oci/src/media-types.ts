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

/** What content of a media type is in an image. */
export function kindOf({ mediaType }: { readonly mediaType: string }): Kind {
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

/** Manifests and indexes, in the order in which a registry is asked for them. */
export const manifestTypes: readonly string[] = [
  mediaTypes.ociIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerList,
  mediaTypes.dockerManifest,
]

/** Whether content of this type lives at a registry's `manifests/`; everything else lives at `blobs/`. */
export function isManifestType(mediaType: string): boolean {
  return manifestTypes.includes(mediaType)
}

/** Layers that may not be passed on. */
export function isNonDistributable({ mediaType }: { readonly mediaType: string }): boolean {
  return /\.foreign\.|\.nondistributable\./.test(mediaType)
}
