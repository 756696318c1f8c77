/** What a caller may do: look, change records, run things on nodes, direct the cluster. None includes another. */
export const verbs = ['read', 'write', 'exec', 'admin'] as const
export type Verb = (typeof verbs)[number]

/** What a certificate allows in one namespace. */
export interface Grant {
  /** A containerd namespace, or `*` for all of them and for the cluster itself. */
  readonly namespace: string
  readonly verbs: readonly Verb[]
}

const accessPrefix = 'flotilla://access/'
const nodePrefix = 'flotilla://node/'

/** A grant as the URI that certificates carry as an alternative name: `flotilla://access/NAMESPACE/read+write`. */
export function grantUri({ namespace, verbs }: Grant): string {
  return `${accessPrefix}${namespace}/${verbs.join('+')}`
}

/** The URI of a node's certificate: `flotilla://node/NAME`. */
export function nodeUri(name: string): string {
  return `${nodePrefix}${encodeURIComponent(name)}`
}

export function isVerb(word: string): word is Verb {
  return (verbs as readonly string[]).includes(word)
}

/** Reads `NAMESPACE:VERB,VERB` as people type it. Throws an Error that says what is wrong. */
export function parseGrant(text: string): Grant {
  const [namespace = '', list = '', ...rest] = text.split(':')
  if (rest.length > 0 || !/^(\*|[A-Za-z0-9]+([._-][A-Za-z0-9]+)*)$/.test(namespace) || namespace.length > 76)
    throw new Error(`"${text}" is not NAMESPACE:VERB,… with a containerd namespace or *`)
  return { namespace, verbs: list.split(',').map((word) => verbOf(word, text)) }
}

function verbOf(word: string, text: string): Verb {
  if (!isVerb(word)) throw new Error(`"${text}": "${word}" is not one of ${verbs.join(', ')}`)
  return word
}

/** The grants and the node name among the URIs of a certificate; a URI of ours that cannot be read grants nothing. */
export function readUris(uris: readonly string[]): {
  readonly grants: readonly Grant[]
  readonly node: string | undefined
} {
  const grants = uris.flatMap((uri) => {
    const match = /^flotilla:\/\/access\/(\*|[A-Za-z0-9._-]+)\/([a-z+]+)$/.exec(uri)
    const words = match?.[2]?.split('+') ?? []
    return match?.[1] !== undefined && words.every(isVerb) ? [{ namespace: match[1], verbs: words as Verb[] }] : []
  })
  const node = uris.find((uri) => uri.startsWith(nodePrefix) && uri.length > nodePrefix.length)
  return { grants, node: node && decodeURIComponent(node.slice(nodePrefix.length)) }
}
