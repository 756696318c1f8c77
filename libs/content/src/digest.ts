import { invalidArgument } from '@flotilla/rpc'

/** A digest that was checked, and may therefore become part of a path. */
export interface Digest {
  /** `ALGORITHM:HEX`. */
  readonly text: string
  readonly algorithm: Algorithm
  readonly hex: string
}

export type Algorithm = 'sha256' | 'sha384' | 'sha512'

/** Hex digits that a digest of each algorithm has. */
const lengths: Readonly<Record<Algorithm, number>> = { sha256: 64, sha384: 96, sha512: 128 }

export const algorithms = Object.keys(lengths) as readonly Algorithm[]

const isAlgorithm = (name: string): name is Algorithm => Object.hasOwn(lengths, name)

/** Either the digest or what is wrong with the text, in the words that clients know. */
function readDigest(text: string): Digest | string {
  const badFormat = 'invalid checksum digest format'
  const colon = text.indexOf(':')
  if (colon <= 0 || colon === text.length - 1) return badFormat
  const algorithm = text.slice(0, colon)
  const hex = text.slice(colon + 1)
  if (!isAlgorithm(algorithm)) {
    const wellFormed = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/.test(text)
    return wellFormed ? 'unsupported digest algorithm' : badFormat
  }
  if (hex.length !== lengths[algorithm]) return 'invalid checksum digest length'
  return /^[0-9a-f]+$/.test(hex) ? { text, algorithm, hex } : badFormat
}

/** INVALID_ARGUMENT `"TEXT" failed validation` for what is no digest. */
export function parseDigest(text: string): Digest {
  const digest = readDigest(text)
  if (typeof digest === 'string') throw invalidArgument(`"${text}" failed validation`, { cause: new Error(digest) })
  return digest
}

/** The same check for methods whose message is the fault itself. */
export function parseDigestNamingFault(text: string): Digest {
  const digest = readDigest(text)
  if (typeof digest === 'string') throw invalidArgument(digest)
  return digest
}

/** A digest that we computed ourselves. */
export const digestOf = (algorithm: Algorithm, hex: string): Digest => ({ text: `${algorithm}:${hex}`, algorithm, hex })

/** The digest; undefined for what is none. */
export function parsedDigest(text: string): Digest | undefined {
  const digest = readDigest(text)
  return typeof digest === 'string' ? undefined : digest
}

/** A file name below blobs/ALGORITHM as a digest; undefined for a stranger. */
export const digestOfFile = (algorithm: Algorithm, name: string) => parsedDigest(`${algorithm}:${name}`)
