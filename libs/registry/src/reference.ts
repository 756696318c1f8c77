import { isDigest } from '@flotilla/oci'
import { invalidArgument } from '@flotilla/rpc'

/** An image reference, `HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`, in parts. */
export interface Reference {
  /** As it was given. */
  readonly text: string
  /** Whom the name belongs to, with its port: `docker.io`, `localhost:5000`. */
  readonly host: string
  readonly repository: string
  readonly tag: string | undefined
  readonly digest: string | undefined
}

const repositoryPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const hostPattern = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?$/

/**
 * Takes a whole reference apart; nothing is added to it (`busybox` has no host and is refused, as containerd does).
 *
 * @throws INVALID_ARGUMENT when it is none
 */
export function parseReference(text: string): Reference {
  const refuse = (why: string) => invalidArgument(`invalid reference ${JSON.stringify(text)}: ${why}`)
  const slash = text.indexOf('/')
  if (slash < 1) throw refuse('hostname required')
  const host = text.slice(0, slash)
  if (!hostPattern.test(host)) throw refuse('no host')

  let rest = text.slice(slash + 1)
  let digest: string | undefined
  const at = rest.indexOf('@')
  if (at >= 0) {
    digest = rest.slice(at + 1)
    rest = rest.slice(0, at)
    if (!isDigest(digest)) throw refuse('no digest after @')
  }
  let tag: string | undefined
  const colon = rest.indexOf(':')
  if (colon >= 0) {
    tag = rest.slice(colon + 1)
    rest = rest.slice(0, colon)
    if (!/^\w[\w.-]{0,127}$/.test(tag)) throw refuse('no tag after :')
  }
  if (!repositoryPattern.test(rest)) throw refuse('no repository')
  return { text, host, repository: rest, tag, digest }
}

/** Whether a host, with or without a port, is this machine. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return name === 'localhost' || name === '::1' || /^127(?:\.\d{1,3}){3}$/.test(name)
}
