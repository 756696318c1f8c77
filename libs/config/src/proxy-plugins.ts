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
  'own: there can be one, it belongs to this daemon alone, and the machine must be alone.',
  '',
  '[proxy_plugins.stargz]',
  'type = "snapshot"',
  'address = "/run/containerd-stargz-grpc/containerd-stargz-grpc.sock"',
  '[proxy_plugins.stargz.exports]',
  'enable_remote_snapshot_annotations = "true"',
]

/** Why a key cannot be used; the caller knows the file. */
type Refuse = (key: string, why: string) => Error

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The table `proxy_plugins`: one named table for each plugin. */
export function readProxyPlugins(table: unknown, refuse: Refuse): ProxyPlugin[] {
  if (!isTable(table)) throw refuse('proxy_plugins', 'proxy_plugins must be a table of tables')
  const plugins = Object.entries(table).map(([name, value]) => readOne(name, value, refuse))
  const [first, second] = plugins.filter(({ type }) => type === 'content')
  if (first !== undefined && second !== undefined)
    throw refuse(second.name, `proxy_plugins.${second.name}: there is a content store already, "${first.name}"`)
  return plugins
}

function readOne(name: string, table: unknown, refuse: Refuse): ProxyPlugin {
  const at = `proxy_plugins.${name}`
  if (!isTable(table)) throw refuse(name, `${at} must be a table`)
  const { type, address, platform = '', exports = {}, capabilities = [], ...unknown } = table
  for (const key of Object.keys(unknown)) throw refuse(key, `unknown key "${at}.${key}"`)
  if (type !== 'snapshot' && type !== 'diff' && type !== 'content')
    throw refuse('type', `${at}.type must be "snapshot", "diff" or "content", is ${JSON.stringify(type)}`)
  if (typeof address !== 'string' || !/^(unix:\/\/)?\/./.test(address))
    throw refuse('address', `${at}.address must be the path of a socket, is ${JSON.stringify(address)}`)
  if (typeof platform !== 'string') throw refuse('platform', `${at}.platform must be a string`)
  if (!isTable(exports) || !Object.values(exports).every((one) => typeof one === 'string'))
    throw refuse('exports', `${at}.exports must be a table of strings`)
  if (!Array.isArray(capabilities) || !capabilities.every((one) => typeof one === 'string'))
    throw refuse('capabilities', `${at}.capabilities must be a list of strings`)
  return {
    name,
    type,
    address: address.startsWith('/') ? `unix://${address}` : address,
    platform,
    exports: exports as Record<string, string>,
    capabilities,
  }
}
