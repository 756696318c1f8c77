import { existsSync, globSync, readFileSync, realpathSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse } from 'smol-toml'
import { ConfigError, isTable, type Refuse, type Table } from './config-error.ts'
import { millisecondsOf } from './duration.ts'
import { type Option, openSections, options } from './options.ts'
import { type ProxyPlugin, readProxyPlugins } from './proxy-plugins.ts'
import { readStreamProcessors, type StreamProcessor } from './stream-processors.ts'
import { lineOf } from './toml-lines.ts'

export type Value = string | number | boolean

/** What is set, by the path of each option, and the tables whose names the operator chose. */
export interface Values {
  readonly options: Map<string, Value>
  readonly services: Record<string, string>
  readonly proxyPlugins: Map<string, ProxyPlugin>
  readonly streamProcessors: Map<string, StreamProcessor>
}

/** The form of the file: ours, and those of containerd's files, of which the keys that we have are read. */
const versions = [1, 2, 3, 4]

const keyOf = (path: readonly string[]) => JSON.stringify(path)
const known = new Map<string, Option>(
  options.flatMap((option: Option) => [
    [keyOf(option.path.split('.')), option],
    ...(option.containerd ?? []).map((path): [string, Option] => [keyOf(path), option]),
  ]),
)
/** Every table that some option is in. */
const tables = new Set(
  [...known.keys()].flatMap((key) => {
    const path = JSON.parse(key) as string[]
    return path.map((_, at) => keyOf(path.slice(0, at)))
  }),
)

/** A value as an option takes it; throws what `wrong` makes of what was wanted. */
export function checked(option: Option, given: unknown, wrong: (wanted: string) => ConfigError): Value {
  const { kind } = option
  const duration = option.isDuration === true && typeof given === 'string' ? millisecondsOf(given) : undefined
  const value = duration ?? (option.isList === true && Array.isArray(given) ? given.join(',') : given)
  if (kind === 'integer' && !Number.isSafeInteger(value))
    throw wrong(option.isDuration === true ? 'a whole number or a duration such as "10s"' : 'a whole number')
  if (kind === 'number' && typeof value !== 'number') throw wrong('a number')
  if (kind === 'string' && typeof value !== 'string') throw wrong('a string')
  if (kind === 'boolean' && typeof value !== 'boolean') throw wrong('true or false')
  if (option.oneOf && !option.oneOf.includes(value as string)) throw wrong(`one of ${option.oneOf.join(', ')}`)
  return value as Value
}

/**
 * Reads a file into `values`, then those that it imports: what they say wins, as in containerd.
 *
 * @throws ConfigError naming file and line
 */
export function readFile(path: string, values: Values, seen: ReadonlySet<string> = new Set()): void {
  let text: string
  let table: Table
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError(`cannot read config file: ${(error as Error).message}`)
  }
  try {
    table = parse(text)
  } catch (error) {
    throw new ConfigError(`${path}: ${(error as Error).message}`)
  }
  const refuse: Refuse = (at, why) => new ConfigError(`${path}:${lineOf(text, at)}: ${why}`)
  const { imports = [], proxy_plugins: plugins = {}, stream_processors: processors = {}, version, ...rest } = table
  if (version !== undefined && !versions.includes(version as number))
    throw refuse(['version'], `version must be one of ${versions.join(', ')}, is ${JSON.stringify(version)}`)
  walk(rest, [], { values, refuse, setAt: new Map() })
  for (const plugin of readProxyPlugins(plugins, refuse)) values.proxyPlugins.set(plugin.name, plugin)
  for (const processor of readStreamProcessors(processors, refuse)) values.streamProcessors.set(processor.id, processor)

  if (!Array.isArray(imports) || !imports.every((one) => typeof one === 'string'))
    throw refuse(['imports'], 'imports must be a list of paths')
  const above = new Set([...seen, realpathSync(path)])
  for (const pattern of imports) {
    const place = resolve(dirname(path), pattern)
    // A pattern may stand for no file; a path that is not there is a mistake.
    for (const file of /[*?[]/.test(pattern) ? globSync(place).sort() : [place])
      if (!(existsSync(file) && above.has(realpathSync(file)))) readFile(file, values, above)
  }
}

interface Reading {
  readonly values: Values
  readonly refuse: Refuse
  /** Where in this file an option was set. */
  readonly setAt: Map<Option, string>
}

function walk(table: Table, above: readonly string[], reading: Reading): void {
  const { values, refuse, setAt } = reading
  for (const [key, value] of Object.entries(table)) {
    const path = [...above, key]
    const name = path.map((part) => (part.includes('.') ? JSON.stringify(part) : part)).join('.')
    const option = known.get(keyOf(path))
    if (option) {
      const before = setAt.get(option)
      if (before !== undefined) throw refuse(path, `${name} says again what ${before} says`)
      setAt.set(option, name)
      const wrong = (wanted: string) => refuse(path, `${name} must be ${wanted}, is ${JSON.stringify(value)}`)
      values.options.set(option.path, checked(option, value, wrong))
    } else if (above.length === 1 && above[0] === 'services' && typeof value === 'string') values.services[key] = value
    else if (isTable(value) && (tables.has(keyOf(path)) || (above.length === 0 && key in openSections)))
      walk(value, path, reading)
    else throw refuse(path, `unknown key "${name}"`)
  }
}
