import { isLoopback } from './reference.ts'
import type { TlsSettings } from './transport.ts'

/** What a host may be asked for. */
export type Capability = 'pull' | 'resolve' | 'push'

/** One server that is asked for a registry's repositories: the registry itself, or a mirror of it. */
export interface RegistryHost {
  readonly scheme: 'http' | 'https'
  /** HOST[:PORT]. */
  readonly host: string
  /** Where its API begins: `/v2` unless it has a path of its own. */
  readonly path: string
  readonly capabilities: ReadonlySet<Capability>
  readonly headers: Readonly<Record<string, string>>
  readonly tls: TlsSettings | undefined
  /** Milliseconds for a connection; the client's own patience when undefined. */
  readonly dialTimeout: number | undefined
  /** Speak plain HTTP when it turns out not to speak TLS. */
  readonly plainFallback: boolean
}

const everything: ReadonlySet<Capability> = new Set(['pull', 'resolve', 'push'])

/** What a host has when nothing is configured for it. */
export const defaultHost = {
  path: '/v2',
  capabilities: everything,
  headers: {},
  tls: undefined,
  dialTimeout: undefined,
  plainFallback: false,
} as const

/**
 * The server of a registry for which nothing is configured. This machine is tried with TLS, unverified, then in plain;
 * every other needs TLS unless a scheme is given.
 */
export function serverOf(registry: string, defaultScheme: string | undefined): RegistryHost {
  if (registry === 'docker.io') return { ...defaultHost, scheme: 'https', host: 'registry-1.docker.io' }
  const scheme = defaultScheme === 'http' ? 'http' : 'https'
  const server = { ...defaultHost, scheme, host: registry } as const
  if (!isLoopback(registry) || (defaultScheme ?? '') !== '') return server
  const port = /:(\d+)$/.exec(registry)?.[1]
  if (port === '80') return { ...server, scheme: 'http' }
  const tls = { ca: [], pairs: [], skipVerify: true }
  return { ...server, tls, plainFallback: port !== undefined && port !== '443' }
}
