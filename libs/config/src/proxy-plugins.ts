import { isTable, type Refuse } from './config-error.ts'

/** A plugin that another program serves on a socket, as containerd's configuration describes it. */
export interface ProxyPlugin {
  readonly name: string
  readonly type: 'snapshot' | 'diff' | 'content'
  /** `unix:///path`. */
  readonly address: string
  readonly platform: string
  readonly exports: Readonly<Record<string, string>>
  readonly capabilities: readonly string[]
}

/** What the default file says of these tables. */
export const proxyPluginsText = [
  'Snapshotters, differs and a content store of other programs: a table for each, by the name that clients use.',
  '`exports` and `capabilities` are what clients read in the list of plugins. A content store takes the place of our',
  'own: there can be one, it belongs to this daemon alone, and the machine must be alone. A snapshotter whose export',
  '`enable_remote_snapshot_annotations` is "true" is told where layers are, and those that it has are not downloaded.',
  '',
  '[proxy_plugins.stargz]',
  'type = "snapshot"',
  'address = "/run/containerd-stargz-grpc/containerd-stargz-grpc.sock"',
  '[proxy_plugins.stargz.exports]',
  'enable_remote_snapshot_annotations = "true"',
]

/** The table `proxy_plugins`: one named table for each plugin. */
export function readProxyPlugins(table: unknown, refuse: Refuse): ProxyPlugin[] {
  if (!isTable(table)) throw refuse(['proxy_plugins'], 'proxy_plugins must be a table of tables')
  return Object.entries(table).map(([name, value]) => readOne(name, value, refuse))
}

function readOne(name: string, table: unknown, refuse: Refuse): ProxyPlugin {
  const at = `proxy_plugins.${name}`
  const wrong = (key: string, why: string) => refuse(['proxy_plugins', name, key], why)
  if (!isTable(table)) throw refuse(['proxy_plugins', name], `${at} must be a table`)
  const { type, address, platform = '', exports = {}, capabilities = [], ...unknown } = table
  for (const key of Object.keys(unknown)) throw wrong(key, `unknown key "${at}.${key}"`)
  if (type !== 'snapshot' && type !== 'diff' && type !== 'content')
    throw wrong('type', `${at}.type must be "snapshot", "diff" or "content", is ${JSON.stringify(type)}`)
  if (typeof address !== 'string' || !/^(unix:\/\/)?\/./.test(address))
    throw wrong('address', `${at}.address must be the path of a socket, is ${JSON.stringify(address)}`)
  if (typeof platform !== 'string') throw wrong('platform', `${at}.platform must be a string`)
  if (!isTable(exports) || !Object.values(exports).every((one) => typeof one === 'string'))
    throw wrong('exports', `${at}.exports must be a table of strings`)
  if (!Array.isArray(capabilities) || !capabilities.every((one) => typeof one === 'string'))
    throw wrong('capabilities', `${at}.capabilities must be a list of strings`)
  return {
    name,
    type,
    address: address.startsWith('/') ? `unix://${address}` : address,
    platform,
    exports: exports as Record<string, string>,
    capabilities,
  }
}
