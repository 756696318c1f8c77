/** What a manifest says of one piece of content. `size` in bytes. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

/** Larger manifests are refused, whoever offers them: bytes. */
export const maxManifestSize = 8 * 1024 * 1024

const manifestTypes: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
])

/** Whether content of this type lives at a registry's `manifests/`; everything else lives at `blobs/`. */
export function isManifestType(mediaType: string): boolean {
  return manifestTypes.has(mediaType)
}

/** The Accept header of a request for a manifest by name. */
export const acceptManifests = [...manifestTypes, '*/*'].join(', ')

/** The digests that we can check: what a path may be made of. */
export function isDigest(text: string): boolean {
  return /^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/.test(text)
}
