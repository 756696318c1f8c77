import { type Option, openSections, options } from './options.ts'
import { proxyPluginsText } from './proxy-plugins.ts'
import type { Values } from './read-file.ts'
import { streamProcessorsText } from './stream-processors.ts'

const key = (name: string) => (/^[\w-]+$/.test(name) ? name : JSON.stringify(name))

/** The TOML file with every option at its default, described. */
export function defaultFile(): string {
  const lines = ['# Form of this file.', 'version = 1', '']
  lines.push('# Files whose settings win over those of this one; * and ? stand for parts of names.', 'imports = []', '')
  lines.push(...optionLines(new Map(), true))
  for (const [name, text] of Object.entries(openSections)) lines.push('', `# ${text}`, `[${name}]`)
  for (const example of [proxyPluginsText, streamProcessorsText])
    lines.push('', ...example.map((line) => `# ${line}`.trimEnd()))
  return `${lines.join('\n')}\n`
}

/** The TOML file of what holds; reading it gives the same. */
export function dumpedFile(values: Values): string {
  const lines = ['version = 1', '', ...optionLines(values.options, false), '', '[services]']
  for (const [name, address] of Object.entries(values.services)) lines.push(`${key(name)} = ${JSON.stringify(address)}`)
  for (const { name, exports, ...plugin } of values.proxyPlugins.values()) {
    lines.push('', `[proxy_plugins.${key(name)}]`, ...settings(plugin))
    lines.push(`[proxy_plugins.${key(name)}.exports]`, ...settings(exports))
  }
  for (const { id, ...processor } of values.streamProcessors.values())
    lines.push('', `[stream_processors.${key(id)}]`, ...settings(processor))
  return `${lines.join('\n')}\n`
}

// Strings, numbers, booleans and lists of strings are written in TOML as in JSON.
const settings = (table: object) =>
  Object.entries(table).map(([name, value]) => `${key(name)} = ${JSON.stringify(value)}`)

function optionLines(values: ReadonlyMap<string, string | number | boolean>, described: boolean): string[] {
  const lines: string[] = []
  let section = ''
  for (const option of options as readonly Option[]) {
    const at = option.path.lastIndexOf('.')
    const table = at < 0 ? '' : option.path.slice(0, at)
    if (table !== section) lines.push('', `[${table}]`)
    section = table
    if (described) lines.push(...description(option))
    lines.push(`${option.path.slice(at + 1)} = ${JSON.stringify(values.get(option.path) ?? option.value)}`)
  }
  return lines
}

function description({ text, oneOf, containerd = [] }: Option): string[] {
  const paths = containerd.map((path) =>
    path.map((part) => (part.includes('.') ? JSON.stringify(part) : part)).join('.'),
  )
  return [
    `# ${text}${oneOf ? ` One of: ${oneOf.join(', ')}.` : ''}`,
    ...(paths.length > 0 ? [`# As containerd's files have it: ${paths.join(' or ')}.`] : []),
  ]
}
