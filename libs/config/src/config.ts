import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { parse } from 'smol-toml'
import { type Option, openSections, options } from './options.ts'
import { type ProxyPlugin, proxyPluginsText, readProxyPlugins } from './proxy-plugins.ts'

/** Paths of PEM files; empty where there is none. */
export interface TlsFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** The settings of one process. Paths are absolute. */
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
    readonly hostsDir: string
    readonly maxDownloads: number
  }
  readonly events: { readonly retentionHours: number; readonly retentionCount: number }
  readonly blockfile: {
    /** Empty: none. */
    readonly scratchFile: string
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
}

/** A setting that cannot be used; the message names it and where it stands. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ConfigError'
  }
}

type Values = Map<string, string | number | boolean>

const known = new Map<string, Option>(options.map((option) => [option.path, option]))

function checked(option: Option, value: unknown, where: string): string | number | boolean {
  const wrong = (wanted: string) =>
    new ConfigError(`${where}: ${option.path} must be ${wanted}, is ${JSON.stringify(value)}`)
  if (option.kind === 'integer' && !Number.isSafeInteger(value)) throw wrong('a whole number')
  if (option.kind === 'number' && typeof value !== 'number') throw wrong('a number')
  if (option.kind === 'string' && typeof value !== 'string') throw wrong('a string')
  if (option.kind === 'boolean' && typeof value !== 'boolean') throw wrong('true or false')
  if (option.oneOf && !option.oneOf.includes(value as string)) throw wrong(`one of ${option.oneOf.join(', ')}`)
  return value as string | number | boolean
}

/** Line of a key in a TOML text, from 1, for messages. */
function lineOf(text: string, key: string): number {
  const at = text
    .split('\n')
    .findIndex((line) =>
      new RegExp(`^\\s*(\\[+\\s*([\\w.-]+\\.)?)?["']?${key.replace(/[^\w-]/g, '.')}["']?\\s*[=\\].]`).test(line),
    )
  return at + 1
}

function readFile(path: string, values: Values, services: Record<string, string>): ProxyPlugin[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError(`cannot read config file: ${(error as Error).message}`)
  }
  const walk = (table: Record<string, unknown>, prefix: string) => {
    for (const [key, value] of Object.entries(table)) {
      const where = `${path}:${lineOf(text, key)}`
      const full = prefix === '' ? key : `${prefix}.${key}`
      const option = known.get(full)
      if (option) values.set(full, checked(option, value, where))
      else if (prefix in openSections && typeof value === 'string') services[key] = value
      else if (
        typeof value === 'object' &&
        value !== null &&
        !Array.isArray(value) &&
        (full in openSections || options.some((o) => o.path.startsWith(`${full}.`)))
      )
        walk(value as Record<string, unknown>, full)
      else throw new ConfigError(`${where}: unknown key "${full}"`)
    }
  }
  try {
    const { proxy_plugins: plugins = {}, ...rest } = parse(text)
    walk(rest, '')
    return readProxyPlugins(plugins, (key, why) => new ConfigError(`${path}:${lineOf(text, key)}: ${why}`))
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new ConfigError(`${path}: ${(error as Error).message}`)
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

/** Puts defaults, file and overrides together. Throws {@link ConfigError}. */
export function loadConfig(settings: Settings = {}): Config {
  const values: Values = new Map(options.map((option) => [option.path, option.value]))
  const services: Record<string, string> = {}
  const proxyPlugins = settings.file === undefined ? [] : readFile(settings.file, values, services)
  for (const [path, value] of Object.entries(settings.overrides ?? {})) {
    const option = known.get(path)
    if (value === undefined) continue
    if (!option) throw new ConfigError(`unknown option ${path}`)
    values.set(
      path,
      checked(
        option,
        option.kind === 'string' ? value : option.kind === 'boolean' ? value === 'true' : Number(value),
        'command line',
      ),
    )
  }
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
  const store = proxyPlugins.find(({ type }) => type === 'content')
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
      hostsDir: text('registry.hosts_dir'),
      maxDownloads: number('registry.max_concurrent_downloads'),
    },
    events: { retentionHours: number('events.retention_hours'), retentionCount: number('events.retention_count') },
    blockfile: { scratchFile: file('blockfile.scratch_file') },
    optPath: resolve(text('opt.path')),
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
  }
}

function differs(text: string, plugins: readonly ProxyPlugin[]): string[] {
  const names = text.split(',').map((name) => name.trim())
  for (const name of names) {
    if (name !== 'walking' && !plugins.some((one) => one.type === 'diff' && one.name === name))
      throw new ConfigError(`diff.order: there is no differ "${name}": it is not "walking", nor in proxy_plugins`)
  }
  return names
}

/** The TOML file with every option at its default, described. */
export function defaultFile(): string {
  const lines: string[] = []
  let section = ''
  for (const option of options) {
    const at = option.path.lastIndexOf('.')
    const table = at < 0 ? '' : option.path.slice(0, at)
    if (table !== section) lines.push('', `[${table}]`)
    section = table
    const choice: Option = option
    lines.push(
      `# ${option.text}${choice.oneOf ? ` One of: ${choice.oneOf.join(', ')}.` : ''}`,
      `${option.path.slice(at + 1)} = ${JSON.stringify(option.value)}`,
    )
  }
  for (const [name, text] of Object.entries(openSections)) lines.push('', `# ${text}`, `[${name}]`)
  lines.push('', ...proxyPluginsText.map((line) => `# ${line}`))
  return `${lines.join('\n')}\n`
}
