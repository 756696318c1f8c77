import { parseArgs } from 'node:util'
import { type Command, type Option, UsageError, type Values } from './command.ts'

/** Options that every command has. */
export const globalOptions: Readonly<Record<string, Option>> = {
  address: {
    type: 'string',
    short: 'a',
    value: 'ADDRESS',
    text: 'socket of a node, or host:port of an endpoint (FLOTILLA_ADDRESS, /run/flotilla/containerd.sock)',
    completes: 'files',
  },
  namespace: { type: 'string', short: 'n', value: 'NAME', text: 'containerd namespace (FLOTILLA_NAMESPACE, default)' },
  ca: { type: 'string', value: 'FILE', text: 'authority of the endpoint (FLOTILLA_CA)', completes: 'files' },
  cert: {
    type: 'string',
    value: 'FILE',
    text: 'certificate to show to the endpoint (FLOTILLA_CERT)',
    completes: 'files',
  },
  key: { type: 'string', value: 'FILE', text: 'key of that certificate (FLOTILLA_KEY)', completes: 'files' },
  'server-name': { type: 'string', value: 'NAME', text: 'name in the certificate of the endpoint, if not its address' },
  output: { type: 'string', short: 'o', value: 'FORMAT', text: 'text or json' },
  help: { type: 'boolean', short: 'h', text: 'this text' },
}

export interface Parsed {
  readonly values: Values
  readonly args: readonly string[]
}

/** Reads what was typed after a command's name. Throws {@link UsageError}. */
export function parse(command: Command, argv: readonly string[]): Parsed {
  const options = { ...globalOptions, ...command.options }
  const [head, rest] = split(argv, options, command.opaqueAfter)
  const config = Object.fromEntries(
    Object.entries(options).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short ? { short } : {}), ...(multiple ? { multiple } : {}) },
    ]),
  )
  let parsed: ReturnType<typeof parseArgs>
  try {
    parsed = parseArgs({ args: head, options: config, allowPositionals: true })
  } catch (error) {
    throw new UsageError((error as Error).message.split('. ')[0] ?? String(error))
  }
  const values = parsed.values as Values
  const output = values.output
  if (output !== undefined && output !== 'text' && output !== 'json')
    throw new UsageError(`--output "${output}" is not text or json`)
  const args = [...parsed.positionals, ...rest]
  const { min, max } = command.count ?? { min: 0, max: 0 }
  if (!values.help && args.length < min) throw new UsageError(`needs ${command.arguments}`)
  if (args.length > max) throw new UsageError(`"${args[max]}" is too much`)
  return { values, args }
}

/** Cuts where everything becomes an argument: after so many of them, or nowhere. */
function split(
  argv: readonly string[],
  options: Readonly<Record<string, Option>>,
  opaqueAfter: number | undefined,
): [string[], string[]] {
  if (opaqueAfter === undefined) return [[...argv], []]
  const takesValue = (word: string) => {
    if (word.startsWith('--')) return !word.includes('=') && options[word.slice(2)]?.type === 'string'
    const last = Object.values(options).find(({ short }) => short === word.at(-1))
    return last?.type === 'string'
  }
  let seen = 0
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] as string
    if (word === '--') continue
    if (word.startsWith('-') && word !== '-') {
      if (takesValue(word)) at++
    } else if (++seen === opaqueAfter) {
      const rest = argv.slice(at + 1)
      return [argv.slice(0, at + 1), rest[0] === '--' ? rest.slice(1) : rest]
    }
  }
  return [[...argv], []]
}
