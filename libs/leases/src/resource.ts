import type { Resource as WireResource } from '@flotilla/api/containerd/services/leases/v1/leases'
import type { Resource } from '@flotilla/metadata'
import { invalidArgument, unimplemented } from '@flotilla/rpc'

/** Hex digits of each digest algorithm. */
const digestLengths: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 }

function digestFault(text: string): string | undefined {
  const [, algorithm, hex] = /^([a-z0-9]+(?:[.+_-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)$/.exec(text) ?? []
  if (algorithm === undefined || hex === undefined) return 'invalid checksum digest format'
  const length = Object.hasOwn(digestLengths, algorithm) ? digestLengths[algorithm] : undefined
  if (length === undefined) return 'unsupported digest algorithm'
  if (hex.length !== length) return 'invalid checksum digest length'
  return /^[0-9a-f]*$/.test(hex) ? undefined : 'invalid checksum digest format'
}

/**
 * What a request names, if a lease can hold such a thing; whether it exists is not asked.
 *
 * @throws INVALID_ARGUMENT for a malformed type or id, UNIMPLEMENTED for a type that leases do not hold
 */
export function parseResource(requested: WireResource | undefined): Resource {
  const { type, id } = requested ?? { type: '', id: '' }
  const slash = type.indexOf('/')
  const kind = slash === -1 ? type : type.slice(0, slash)
  switch (kind) {
    case 'content': {
      if (slash !== -1) throw invalidArgument(`invalid resource type ${type}`)
      const fault = digestFault(id)
      if (fault) throw invalidArgument(`invalid content resource id ${id}: ${fault}`)
      return { type, id }
    }
    case 'images':
    case 'ingests':
      if (slash !== -1) throw invalidArgument(`invalid resource type ${type}`)
      return { type, id }
    case 'snapshots':
      if (slash === -1 || slash === type.length - 1) throw invalidArgument(`invalid snapshot resource type ${type}`)
      return { type, id }
    default:
      throw unimplemented(`resource type ${type} not supported yet`)
  }
}
