import type { RedisOptions } from 'ioredis'

export interface Address {
  readonly host: string
  readonly port: number
}

export type SentinelOptions = Pick<
  RedisOptions,
  'sentinels' | 'name' | 'role' | 'username' | 'password' | 'sentinelPassword' | 'db' | 'enableTLSForSentinelMode'
>

/** What an address names: Sentinels that know the primary, some members of a Redis Cluster, or a server. */
export function kindOf(url: string): 'sentinel' | 'cluster' | 'server' {
  const [, kind] = /^rediss?\+(sentinel|cluster):/.exec(url) ?? []
  return kind === 'sentinel' || kind === 'cluster' ? kind : 'server'
}

/**
 * What `redis+sentinel://[user:password@]host[:port],host[:port]…/NAME[/db][?sentinel_password=…]` says, `rediss+sentinel`
 * with TLS to servers and Sentinels alike. User and password are those of the servers; NAME is what the Sentinels call
 * them; a Sentinel's port is 26379 unless said.
 *
 * @throws Error when it is none
 */
export function sentinelOptions(url: string): SentinelOptions {
  const [, authority = '', name = '', db, query] =
    /^rediss?\+sentinel:\/\/([^/?]+)\/([^/?]+)(?:\/(\d+))?(?:\?(.*))?$/.exec(url) ?? []
  if (name === '')
    throw new Error(
      'redis.url must be redis+sentinel://[user:password@]host:port,host:port/NAME when it names Sentinels',
    )
  const { addresses, ...credentials } = authorityOf(authority, 26_379)
  const sentinelPassword = new URLSearchParams(query).get('sentinel_password')
  return {
    sentinels: addresses,
    name: decodeURIComponent(name),
    role: 'master',
    ...credentials,
    ...(sentinelPassword ? { sentinelPassword } : {}),
    ...(db ? { db: Number(db) } : {}),
    ...(url.startsWith('rediss') ? { enableTLSForSentinelMode: true } : {}),
  }
}

/**
 * What `redis+cluster://[user:password@]host[:port],host[:port]…` says, `rediss+cluster` with TLS: some members, who know
 * the others. The port is 6379 unless said.
 *
 * @throws Error when it is none
 */
export function clusterOptions(url: string): { readonly members: Address[]; readonly credentials: Credentials } {
  const [, authority = ''] = /^rediss?\+cluster:\/\/([^/?]+)\/?$/.exec(url) ?? []
  if (authority === '')
    throw new Error(
      'redis.url must be redis+cluster://[user:password@]host:port,host:port when it names a Redis Cluster',
    )
  const { addresses, ...credentials } = authorityOf(authority, 6_379)
  return { members: addresses, credentials }
}

type Credentials = Pick<RedisOptions, 'username' | 'password'>

function authorityOf(authority: string, usualPort: number): Credentials & { readonly addresses: Address[] } {
  const [, credentials = '', hosts = ''] = /^(?:([^@]*)@)?(.*)$/.exec(authority) ?? []
  const [user = '', password = ''] = credentials.includes(':') ? credentials.split(/:(.*)/s) : ['', credentials]
  return {
    addresses: hosts.split(',').map((text) => {
      const [, host = text, port = String(usualPort)] = /^(.*?)(?::(\d+))?$/.exec(text) ?? []
      return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) }
    }),
    ...(user ? { username: decodeURIComponent(user) } : {}),
    ...(password ? { password: decodeURIComponent(password) } : {}),
  }
}
