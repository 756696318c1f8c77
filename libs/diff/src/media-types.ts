/** What is known of a layer from its media type; the bytes say which compression it is. */
export type Treatment =
  /** The stream may be compressed. */
  | 'detect'
  /** The stream is a tar as it is. */
  | 'plain'
  /** Only a stream processor can read it. */
  | 'unknown'

export const ociLayer = 'application/vnd.oci.image.layer.v1.tar'
export const ociLayerGzip = `${ociLayer}+gzip`
export const ociLayerZstd = `${ociLayer}+zstd`

const docker = 'application/vnd.docker.image.rootfs'
const dockerLayers = new Set(
  ['diff', 'foreign.diff'].flatMap((kind) => ['tar', 'tar.gzip', 'tar.zstd'].map((end) => `${docker}.${kind}.${end}`)),
)
const ociLayers = new Set([ociLayer, 'application/vnd.oci.image.layer.nondistributable.v1.tar'])

/** How a layer of this media type is read without a stream processor. */
export function treatmentOf(mediaType: string): Treatment {
  const [base = '', ...suffixes] = mediaType.split('+')
  const last = suffixes.sort().at(-1)
  // Docker's types do not tell compressed layers from others; one with a suffix is wrapped in something.
  if (dockerLayers.has(base)) return last === undefined ? 'detect' : 'plain'
  if (ociLayers.has(base)) return last === 'gzip' || last === 'zstd' ? 'detect' : 'plain'
  return 'unknown'
}
