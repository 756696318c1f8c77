import type { Image } from '@flotilla/api/containerd/services/images/v1/images'
import { validateLabels } from '@flotilla/metadata'
import { invalidArgument } from '@flotilla/rpc'

/** Hexadecimal digits of each digest algorithm. */
const algorithms: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 }

/** What is wrong with a digest, in the words of OCI's digest library; undefined when it is right. */
export function digestFault(digest: string): string | undefined {
  const parts = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)$/.exec(digest)
  const algorithm = parts?.[1]
  const encoded = parts?.[2]
  if (algorithm === undefined || encoded === undefined) return 'invalid checksum digest format'
  const length = Object.hasOwn(algorithms, algorithm) ? algorithms[algorithm] : undefined
  if (length === undefined) return 'unsupported digest algorithm'
  if (encoded.length !== length) return 'invalid checksum digest length'
  return /^[a-f0-9]+$/.test(encoded) ? undefined : 'invalid checksum digest format'
}

export function requireName(name: string): void {
  if (name === '') throw invalidArgument('Image.Name required')
}

/** Checks an image as it is to be stored. Whether its target's content exists is nobody's business here. */
export function validateImage(image: Image): void {
  requireName(image.name)
  validateLabels(image.labels, 'image.Labels: ')
  const { digest, size, mediaType } = image.target ?? { digest: '', size: 0, mediaType: '' }
  const fault = digestFault(digest)
  if (fault !== undefined) throw invalidArgument(`target.Digest "${digest}" invalid: ${fault}`)
  if (size <= 0) throw invalidArgument('target.Size must be greater than zero')
  if (mediaType === '') throw invalidArgument('target.MediaType must be set')
}
