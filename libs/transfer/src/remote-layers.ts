import type { Driver } from '@flotilla/api/flotilla/node/v1/node'
import type { Descriptor } from '@flotilla/oci'

/** From where an image is pulled. */
export interface PulledFrom {
  /** As in a Pull: `HOST/REPOSITORY:TAG`. */
  readonly reference: string
  readonly manifest: Descriptor
}

/** Annotations of a layer with this prefix are for the driver of its snapshot. */
const driverPrefix = 'containerd.io/snapshot/'

/** Most characters of a label, its key included, as containerd has it. */
const maxLabel = 4096

/**
 * Whether a snapshotter may have layers that were never downloaded to content: it fetches what is read of them. Its
 * owner says so in its table of the configuration, by the name that containerd has for it.
 */
export function fetchesLayers(driver: Pick<Driver, 'exports'> | undefined): boolean {
  return driver?.exports.enable_remote_snapshot_annotations === 'true'
}

/** What the image itself has to say to drivers: of an eStargz layer, the digest of its table of contents. */
export function inheritedLabels({ annotations = {} }: Descriptor): Record<string, string> {
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => key.startsWith(driverPrefix)))
}

/**
 * The labels that tell a snapshotter where a layer can be fetched; their names are containerd's, and not only for CRI.
 *
 * @param layers the layer and those above it, which may be prepared meanwhile
 */
export function whereToFetch(
  { reference, manifest }: PulledFrom,
  layers: readonly Descriptor[],
): Record<string, string> {
  const key = `${driverPrefix}cri.image-layers`
  let digests = ''
  for (const { digest } of layers) {
    const longer = digests === '' ? digest : `${digests},${digest}`
    if (key.length + longer.length > maxLabel) break
    digests = longer
  }
  return {
    [`${driverPrefix}cri.image-ref`]: reference,
    [`${driverPrefix}cri.manifest-digest`]: manifest.digest,
    [`${driverPrefix}cri.layer-digest`]: layers[0]?.digest ?? '',
    [key]: digests,
  }
}
