import { parseArgs } from 'node:util'
import { type Config, dumpConfig, loadConfig, type Settings } from '@flotilla/config'

/** Flags that every app takes, each with the option it sets; some have containerd's short forms. */
const flags = {
  root: { path: 'root', text: 'directory for what must survive a reboot' },
  state: { path: 'state', text: 'directory for what lives until the next reboot' },
  address: { path: 'address', short: 'a', text: 'path of the node socket' },
  'node-name': { path: 'node_name', text: 'unique name of this machine' },
  redis: { path: 'redis.url', text: 'metadata store: redis://…, rediss://… or unix:///path' },
  nats: { path: 'nats.url', text: 'message bus: nats://host:port' },
  endpoint: { path: 'cluster.endpoint', text: 'host:port at which the whole API is served with mutual TLS' },
  ca: { path: 'cluster.ca', text: 'file with the authority of the cluster, see flotilla pki' },
  cert: { path: 'cluster.cert', text: 'file with the certificate of this node' },
  key: { path: 'cluster.key', text: 'file with the key of that certificate' },
  revoked: { path: 'cluster.revoked', text: 'file with serial numbers of certificates that no longer count' },
  advertise: { path: 'cluster.advertise', text: 'host:port at which other nodes reach this one' },
  'log-level': { path: 'log.level', short: 'l', text: 'trace, debug, info, warn, error, fatal or panic' },
  'metrics-address': { path: 'metrics.address', text: 'host:port of the Prometheus endpoint' },
} as const

export interface CommandLine {
  readonly config: Config
  /** Where a service of its own process listens, when given. */
  readonly listen: string | undefined
}

/** The text of --help. */
export function helpText(program: string, about: string): string {
  const lines = Object.entries(flags).map(([name, flag]) => {
    const short = 'short' in flag ? `-${flag.short}, ` : '    '
    return `  ${short}--${name.padEnd(18)} ${flag.text}`
  })
  return [
    `${program}: ${about}`,
    '',
    'Options:',
    `  -c, --${'config'.padEnd(18)} TOML file with all options; flags win over it`,
    ...lines,
    `      --${'listen'.padEnd(18)} where a single service listens: unix:///path or host:port`,
    `  -h, --${'help'.padEnd(18)} this text`,
    '',
  ].join('\n')
}

/** The settings that flags make; undefined when help was asked for. Throws an Error that says what is wrong. */
function readSettings(argv: readonly string[]): { settings: Settings; listen: string | undefined } | undefined {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      ...Object.fromEntries(
        Object.entries(flags).map(([name, flag]) => [
          name,
          { type: 'string' as const, ...('short' in flag ? { short: flag.short } : {}) },
        ]),
      ),
      config: { type: 'string', short: 'c' },
      listen: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  const given = values as Record<string, string | boolean | undefined>
  if (given.help) return undefined
  const text = (name: string) => (typeof given[name] === 'string' ? given[name] : undefined)
  const overrides = Object.fromEntries(Object.entries(flags).map(([name, flag]) => [flag.path, text(name)]))
  return { settings: { file: text('config'), overrides }, listen: text('listen') }
}

/** Reads flags and configuration. Throws an Error that says what is wrong; answers undefined when help was asked for. */
export function readCommandLine(argv: readonly string[]): CommandLine | undefined {
  const read = readSettings(argv)
  return read && { config: loadConfig(read.settings), listen: read.listen }
}

/** The configuration file of what holds with these flags. Throws an Error that says what is wrong. */
export function dumpCommandLine(argv: readonly string[]): string {
  return dumpConfig(readSettings(argv)?.settings ?? {})
}
