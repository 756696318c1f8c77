import { readFileSync } from 'node:fs'
import { type RpcError, toRpcError, unavailable } from '@flotilla/rpc'
import { Cluster, Redis, type RedisOptions, ReplyError } from 'ioredis'
import { clusterOptions, kindOf, sentinelOptions } from './server-groups.ts'

export interface ConnectionOptions {
  /** `redis://[user:password@]host:port[/db]`, `rediss://…`, `unix:///path?password=…`, or several servers: server-groups.ts. */
  readonly url: string
  /** PEM files for `rediss://`; each may be absent or empty. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string }
  /** Milliseconds a command may take before it counts as UNAVAILABLE; default 5,000. */
  readonly commandTimeout?: number
}

/**
 * A connection that fails fast: a command sent while Redis is away is refused at once rather than queued, and one that
 * was under way when the connection broke is not repeated, since nobody knows whether it was carried out.
 */
export function connectRedis(options: ConnectionOptions & { readonly blocking?: boolean }): Redis {
  const shared = {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    retryStrategy: (times: number) => Math.min(20 * times, 500),
    enableReadyCheck: true,
    connectTimeout: 2_000,
    ...(options.blocking
      ? {}
      : {
          commandTimeout: options.commandTimeout ?? 5_000,
          // A connection over which nothing comes back is dead, whatever TCP thinks: it would find out in minutes.
          socketTimeout: (options.commandTimeout ?? 5_000) + 500,
        }),
  }
  let redis: Redis
  if (options.url.startsWith('unix:')) {
    const url = new URL(options.url)
    redis = new Redis({
      ...shared,
      path: url.pathname,
      ...(url.searchParams.has('password') ? { password: url.searchParams.get('password') ?? '' } : {}),
    })
  } else if (kindOf(options.url) === 'cluster') {
    return connectCluster(options, shared)
  } else if (kindOf(options.url) === 'sentinel') {
    redis = new Redis({
      ...shared,
      ...sentinelOptions(options.url),
      ...tlsOf(options),
      ...sentinelTlsOf(options),
      sentinelRetryStrategy: shared.retryStrategy,
      sentinelCommandTimeout: shared.connectTimeout,
      // Sentinels close the connections of a primary that they make a replica; should one be left, it is of no use.
      reconnectOnError: ({ message }: Error) => message.startsWith('READONLY'),
    })
  } else {
    redis = new Redis(options.url, { ...shared, ...tlsOf(options) })
  }
  // Each command reports its own failure; without a listener the library would print the connection's too.
  redis.on('error', () => {})
  writeOnceATurn(redis)
  return redis
}

type SharedName =
  | 'maxRetriesPerRequest'
  | 'autoResendUnfulfilledCommands'
  | 'connectTimeout'
  | 'commandTimeout'
  | 'socketTimeout'

/**
 * A Redis Cluster has the same commands; each goes to the server that has its keys, which must all be in one slot. It
 * has no pipelines over several slots: {@link together} does without.
 */
function connectCluster(options: ConnectionOptions, shared: Pick<RedisOptions, SharedName>): Redis {
  const { credentials, members } = clusterOptions(options.url)
  const cluster = new Cluster(members, {
    redisOptions: { ...shared, ...credentials, ...tlsOf(options) },
    enableOfflineQueue: false,
    clusterRetryStrategy: (times) => Math.min(20 * times, 500),
    // A server that is away is found out by the call; its slots are somebody else's a moment later.
    maxRedirections: 4,
    retryDelayOnFailover: 50,
    retryDelayOnClusterDown: 50,
    slotsRefreshTimeout: 2_000,
    slotsRefreshInterval: 5_000,
    // Certificates are made out to names or addresses as they are given.
    dnsLookup: (address, callback) => callback(null, address),
  })
  cluster.on('error', () => {})
  return cluster as unknown as Redis
}

/** Whether a connection is one to a Redis Cluster. */
export const isCluster = (redis: Redis): boolean => redis instanceof Cluster

/**
 * Asks several questions at once: in one write where there is one server. The answers are in their order, each with its
 * error or null as those of a pipeline.
 *
 * @throws UNAVAILABLE when the store is away
 */
export async function together(
  redis: Redis,
  commands: ReadonlyArray<readonly [command: string, key: string, ...args: Array<string | number>]>,
): Promise<Array<readonly [Error | null, unknown]>> {
  if (commands.length === 0) return []
  if (isCluster(redis))
    return await Promise.all(
      commands.map(([command, ...args]) =>
        redis.call(command, args).then(
          (answer) => [null, answer] as const,
          (error: Error) => [error, undefined] as const,
        ),
      ),
    )
  const pipeline = redis.pipeline()
  for (const [command, ...args] of commands) pipeline.call(command, ...args)
  return (await asked(pipeline.exec())) ?? []
}

/**
 * Commands that are sent in one turn of the event loop leave in one write: calls that arrive together then cost one
 * system call, and their changes share one sync of the append-only file.
 */
function writeOnceATurn(redis: Redis): void {
  const send = redis.sendCommand.bind(redis)
  let corked = false
  redis.sendCommand = (command, stream) => {
    const socket = redis.stream
    if (!corked && redis.status === 'ready') {
      corked = true
      socket.cork()
      setImmediate(() => {
        corked = false
        socket.uncork()
      })
    }
    return send(command, stream)
  }
}

/** The address says whether the connection is encrypted, the files with what. */
function tlsOf({ url, tls = {} }: ConnectionOptions): Pick<RedisOptions, 'tls'> {
  if (!url.startsWith('rediss')) return {}
  const read = (name: 'ca' | 'cert' | 'key') => (tls[name] ? { [name]: readFileSync(tls[name]) } : {})
  return { tls: { ...read('ca'), ...read('cert'), ...read('key') } }
}

function sentinelTlsOf(options: ConnectionOptions): Pick<RedisOptions, 'sentinelTLS'> {
  const { tls } = tlsOf(options)
  return tls === undefined ? {} : { sentinelTLS: tls }
}

/** A failure of Redis as a status: what Redis itself refuses is UNKNOWN, everything on the way to it UNAVAILABLE. */
export function mapRedisError(error: unknown): RpcError {
  if (
    error instanceof Error &&
    error instanceof ReplyError &&
    !/^(LOADING|BUSY|MASTERDOWN|READONLY|CLUSTERDOWN|TRYAGAIN|NOREPLICAS)/.test(error.message)
  )
    return toRpcError(error)
  const words = error instanceof Error ? error.message : String(error)
  // ioredis tells how it is set up.
  const text = words.includes('enableOfflineQueue') ? 'not connected' : words
  return unavailable(`metadata store: ${text}`, { cause: error })
}

/** The answer of Redis to one command, its failure as {@link mapRedisError} words it. */
export async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    throw mapRedisError(error)
  }
}
