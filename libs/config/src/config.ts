import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { ConfigError } from './config-error.ts'
import { type Option, options } from './options.ts'
import { dumpedFile } from './printed.ts'
import type { ProxyPlugin } from './proxy-plugins.ts'
import { checked, readFile, type Values } from './read-file.ts'
import type { StreamProcessor } from './stream-processors.ts'

/** Paths of PEM files; empty where there is none. */
export interface TlsFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** The settings of one process. Paths are absolute. Those that may change while it runs are changed in place. */
export interface Config {
  readonly root: string
  readonly state: string
  readonly address: string
  readonly nodeName: string
  /** Empty: run our own. */
  readonly redisUrl: string
  readonly natsUrl: string
  /** That must have a change before it is acknowledged. */
  readonly redisReplicas: number
  /** Of the stream of events. */
  readonly natsReplicas: number
  readonly redisTls: TlsFiles
  readonly natsTls: TlsFiles
  /** Empty: none. */
  readonly natsCredentials: string
  readonly cluster: {
    /** Empty: none. */
    readonly endpoint: string
    /** All three, or none. */
    readonly tls: TlsFiles
    /** File with certificates that no longer count; empty: none. */
    readonly revoked: string
    /** `host:port`; empty for a machine alone. */
    readonly advertise: string
    readonly labels: Readonly<Record<string, string>>
    readonly copies: number
    /** 0: copies that are more than needed stay. */
    readonly pruneAfterHours: number
  }
  readonly logLevel: string
  readonly metricsAddress: string
  readonly sharingPolicy: 'shared' | 'isolated'
  readonly diff: {
    readonly workers: number
    readonly syncFs: boolean
    /** `walking`, or names of proxy plugins; at least one. */
    readonly order: readonly string[]
  }
  readonly registry: {
    /** Directories of hosts.toml files, separated by `:`. */
    readonly configPath: string
    /** File with credentials; empty: none. */
    readonly dockerConfig: string
    readonly maxDownloads: number
  }
  readonly events: { readonly retentionHours: number; readonly retentionCount: number }
  readonly blockfile: {
    /** Empty: none. */
    readonly scratchFile: string
  }
  readonly devmapper: {
    /** Empty: none. */
    readonly poolName: string
    /** Empty: the usual. */
    readonly rootPath: string
    /** Bytes. */
    readonly baseImageSize: number
    readonly fileSystem: 'ext4' | 'xfs' | 'ext2'
    /** Empty: the usual. */
    readonly fileSystemOptions: readonly string[]
    readonly asyncRemove: boolean
    readonly discardBlocks: boolean
  }
  /** Where clients install programs. */
  readonly optPath: string
  readonly restart: {
    /** Milliseconds. */
    readonly interval: number
  }
  readonly gc: {
    /** Milliseconds. */
    readonly startupDelay: number
    readonly pauseThreshold: number
    readonly deletionThreshold: number
    readonly mutationThreshold: number
    /** Milliseconds. */
    readonly scheduleDelay: number
  }
  /** Addresses of services in other processes, by name. */
  readonly services: Readonly<Record<string, string>>
  readonly proxyPlugins: readonly ProxyPlugin[]
  readonly streamProcessors: readonly StreamProcessor[]
  /** Who owns the node socket. */
  readonly socket: { readonly uid: number; readonly gid: number }
  readonly process: {
    /** 0: as it was started. */
    readonly oomScore: number
    /** Path of a control group; '' for the one that it was started in. */
    readonly cgroup: string
  }
}

function hostAndPort(text: string): string {
  if (text !== '' && !/^.+:\d+$/.test(text))
    throw new ConfigError(`cluster.advertise must be host:port, is ${JSON.stringify(text)}`)
  return text
}

function labelsOf(text: string): Record<string, string> {
  const pairs = text.split(',').filter((pair) => pair.trim() !== '')
  return Object.fromEntries(
    pairs.map((pair) => {
      const [key = '', ...value] = pair.trim().split('=')
      if (key === '' || value.length === 0)
        throw new ConfigError(`cluster.labels must be key=value,…, has ${JSON.stringify(pair)}`)
      return [key, value.join('=')]
    }),
  )
}

/** Flags of the command line, as option paths with their text. */
export interface Settings {
  readonly file?: string | undefined
  readonly overrides?: Readonly<Record<string, string | undefined>>
}

/** Puts defaults, file and overrides together. */
function valuesOf(settings: Settings): Values {
  const values: Values = {
    options: new Map(options.map((option) => [option.path, option.value])),
    services: {},
    proxyPlugins: new Map(),
    streamProcessors: new Map(),
  }
  if (settings.file !== undefined) readFile(settings.file, values)
  for (const [path, value] of Object.entries(settings.overrides ?? {})) {
    if (value === undefined) continue
    const option: Option | undefined = options.find((one) => one.path === path)
    if (!option) throw new ConfigError(`unknown option ${path}`)
    const given = option.kind === 'string' ? value : option.kind === 'boolean' ? value === 'true' : Number(value)
    const wrong = (wanted: string) =>
      new ConfigError(`command line: ${path} must be ${wanted}, is ${JSON.stringify(given)}`)
    values.options.set(path, checked(option, given, wrong))
  }
  return values
}

/** The TOML file of what holds, for a command line. Throws {@link ConfigError}. */
export function dumpConfig(settings: Settings): string {
  const values = valuesOf(settings)
  // What does not go together is refused here as at a start.
  configOf(values)
  return dumpedFile(values)
}

/** Puts defaults, file and overrides together. Throws {@link ConfigError}. */
export function loadConfig(settings: Settings = {}): Config {
  return configOf(valuesOf(settings))
}

function configOf({ options: values, services, ...tables }: Values): Config {
  const proxyPlugins = [...tables.proxyPlugins.values()]
  const text = (path: string) => String(values.get(path))
  const number = (path: string) => Number(values.get(path))
  const file = (path: string) => (text(path) === '' ? '' : resolve(text(path)))
  const tls = (section: string): TlsFiles => {
    const files = { ca: file(`${section}.ca`), cert: file(`${section}.cert`), key: file(`${section}.key`) }
    if ((files.cert === '') !== (files.key === ''))
      throw new ConfigError(`${section}.cert and ${section}.key are set together or not at all`)
    return files
  }
  const cluster = { endpoint: text('cluster.endpoint'), tls: tls('cluster'), revoked: file('cluster.revoked') }
  if ((cluster.tls.ca === '') !== (cluster.tls.cert === ''))
    throw new ConfigError('cluster.ca, cluster.cert and cluster.key are set together or not at all')
  if (cluster.endpoint !== '' && cluster.tls.ca === '')
    throw new ConfigError(
      `cluster.endpoint ${cluster.endpoint} needs cluster.ca, cluster.cert and cluster.key; \`flotilla pki\` makes them`,
    )
  const [store, second] = proxyPlugins.filter(({ type }) => type === 'content')
  if (store !== undefined && second !== undefined)
    throw new ConfigError(`proxy_plugins.${second.name}: there is a content store already, "${store.name}"`)
  if (store !== undefined && text('cluster.advertise') !== '')
    throw new ConfigError(
      `proxy_plugins.${store.name}: a content store of another program cannot be used with cluster.advertise: other nodes could not read from it`,
    )
  return {
    root: resolve(text('root')),
    state: resolve(text('state')),
    address: resolve(text('address').replace(/^unix:(\/\/)?/, '')),
    nodeName: text('node_name') === '' ? hostname() : text('node_name'),
    redisUrl: text('redis.url'),
    natsUrl: text('nats.url'),
    redisReplicas: number('redis.replicas'),
    natsReplicas: number('nats.replicas'),
    redisTls: tls('redis'),
    natsTls: tls('nats'),
    natsCredentials: file('nats.credentials'),
    cluster: {
      ...cluster,
      advertise: hostAndPort(text('cluster.advertise')),
      labels: labelsOf(text('cluster.labels')),
      copies: number('cluster.copies'),
      pruneAfterHours: number('cluster.prune_after_hours'),
    },
    logLevel: text('log.level'),
    metricsAddress: text('metrics.address'),
    sharingPolicy: text('content.sharing_policy') as Config['sharingPolicy'],
    diff: {
      workers: number('diff.workers'),
      syncFs: values.get('diff.sync_fs') === true,
      order: differs(text('diff.order'), proxyPlugins),
    },
    registry: {
      configPath: text('registry.config_path'),
      dockerConfig: file('registry.docker_config'),
      maxDownloads: number('registry.max_concurrent_downloads'),
    },
    events: { retentionHours: number('events.retention_hours'), retentionCount: number('events.retention_count') },
    blockfile: { scratchFile: file('blockfile.scratch_file') },
    devmapper: {
      poolName: poolName(text('devmapper.pool_name')),
      rootPath: file('devmapper.root_path'),
      baseImageSize: sizeOf('devmapper.base_image_size', text('devmapper.base_image_size')),
      fileSystem: text('devmapper.fs_type') as Config['devmapper']['fileSystem'],
      fileSystemOptions: text('devmapper.fs_options').split(/\s+/).filter(Boolean),
      asyncRemove: values.get('devmapper.async_remove') === true,
      discardBlocks: values.get('devmapper.discard_blocks') === true,
    },
    optPath: file('opt.path') || resolve(text('root'), 'opt'),
    restart: { interval: number('restart.interval_ms') },
    gc: {
      startupDelay: number('gc.startup_delay_ms'),
      pauseThreshold: number('gc.pause_threshold'),
      deletionThreshold: number('gc.deletion_threshold'),
      mutationThreshold: number('gc.mutation_threshold'),
      scheduleDelay: number('gc.schedule_delay_ms'),
    },
    services,
    proxyPlugins,
    streamProcessors: [...tables.streamProcessors.values()],
    socket: { uid: number('grpc.uid'), gid: number('grpc.gid') },
    process: { oomScore: oomScore(number('oom_score')), cgroup: text('cgroup.path') },
  }
}

function poolName(name: string): string {
  if (!/^[\w#+.:=@-]*$/.test(name))
    throw new ConfigError(`devmapper.pool_name is a name in /dev/mapper, not ${JSON.stringify(name)}`)
  return name
}

function sizeOf(path: string, text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text) ?? []
  const size = Math.floor(Number(number) * 1024 ** ' kmgtp'.indexOf(unit.toLowerCase() || ' '))
  if (!(size > 0 && Number.isSafeInteger(size)))
    throw new ConfigError(`${path} must be a size such as 10GB, is ${JSON.stringify(text)}`)
  return size
}

function oomScore(score: number): number {
  if (score < -1000 || score > 1000) throw new ConfigError(`oom_score ${score} is not between -1000 and 1000`)
  return score
}

function differs(text: string, plugins: readonly ProxyPlugin[]): string[] {
  const names = text.split(',').map((name) => name.trim())
  for (const name of names) {
    if (name !== 'walking' && !plugins.some((one) => one.type === 'diff' && one.name === name))
      throw new ConfigError(`diff.order: there is no differ "${name}": it is not "walking", nor in proxy_plugins`)
  }
  return names
}
