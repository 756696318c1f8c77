import type { RedisOptions } from 'ioredis'

const pattern = /^rediss?\+sentinel:\/\/(?:([^@/]*)@)?([^@/?]+)\/([^/?]+)(?:\/(\d+))?(?:\?(.*))?$/

export type SentinelOptions = Pick<
  RedisOptions,
  'sentinels' | 'name' | 'role' | 'username' | 'password' | 'sentinelPassword' | 'db' | 'enableTLSForSentinelMode'
>

/** Whether an address names Sentinels that know the primary, rather than a server. */
export const namesSentinels = (url: string): boolean => /^rediss?\+sentinel:/.test(url)

/**
 * What `redis+sentinel://[user:password@]host[:port],host[:port]…/NAME[/db][?sentinel_password=…]` says, `rediss+sentinel`
 * with TLS to servers and Sentinels alike. User and password are those of the servers; NAME is what the Sentinels call
 * them; a Sentinel's port is 26379 unless said.
 *
 * @throws Error when it is none
 */
export function sentinelOptions(url: string): SentinelOptions {
  const [, credentials = '', hosts = '', name = '', db, query] = pattern.exec(url) ?? []
  if (name === '')
    throw new Error(
      'redis.url must be redis+sentinel://[user:password@]host:port,host:port/NAME when it names Sentinels',
    )
  const [user = '', password = ''] = credentials.includes(':') ? credentials.split(/:(.*)/s) : ['', credentials]
  const sentinelPassword = new URLSearchParams(query).get('sentinel_password')
  return {
    sentinels: hosts.split(',').map((host) => {
      const [, address = host, port = '26379'] = /^(.*?)(?::(\d+))?$/.exec(host) ?? []
      return { host: address.replace(/^\[(.*)\]$/, '$1'), port: Number(port) }
    }),
    name: decodeURIComponent(name),
    role: 'master',
    ...(user ? { username: decodeURIComponent(user) } : {}),
    ...(password ? { password: decodeURIComponent(password) } : {}),
    ...(sentinelPassword ? { sentinelPassword } : {}),
    ...(db ? { db: Number(db) } : {}),
    ...(url.startsWith('rediss') ? { enableTLSForSentinelMode: true } : {}),
  }
}
