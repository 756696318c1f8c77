import type { PeerCertificate } from 'node:tls'
import { type Grant, readUris, type Verb } from './grant.ts'

/** Who a certificate says that a caller is. */
export interface Identity {
  /** The certificate's common name, for logs and messages. */
  readonly name: string
  /** The node whose certificate it is. Nodes may do everything: they share the stores anyway. */
  readonly node: string | undefined
  readonly grants: readonly Grant[]
  /** Milliseconds since the epoch after which the certificate no longer counts. */
  readonly expiresAt: number
}

/** The identity in a certificate that the handshake found valid. */
export function identityOf(certificate: PeerCertificate): Identity {
  const uris = urisIn(certificate.subjectaltname ?? '')
  const name = certificate.subject.CN
  return {
    name: typeof name === 'string' ? name : 'a client without a name',
    ...readUris(uris),
    expiresAt: Date.parse(certificate.valid_to),
  }
}

/**
 * The URIs in a list of alternative names as Node writes it: `KIND:value, KIND:value`, where a value with a comma, a
 * quote or a control character in it stands in quotes, as JSON.
 */
function urisIn(names: string): string[] {
  const uris: string[] = []
  for (const [, kind, value = ''] of names.matchAll(/(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,"]*)/g))
    if (kind === 'URI' && !value.startsWith('"')) uris.push(value)
  return uris
}

/** Whether an identity may use a verb in a namespace; `*` asks for the cluster as a whole. */
export function mayUse(identity: Identity, verb: Verb, namespace: string): boolean {
  if (identity.node !== undefined) return true
  return identity.grants.some(
    (grant) => (grant.namespace === '*' || grant.namespace === namespace) && grant.verbs.includes(verb),
  )
}

/** Whether an identity may use a verb in any namespace at all. */
export function mayUseSomewhere(identity: Identity, verb: Verb): boolean {
  return identity.node !== undefined || identity.grants.some((grant) => grant.verbs.includes(verb))
}
