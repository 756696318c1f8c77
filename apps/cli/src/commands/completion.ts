import { type Client, hasCode, status } from '@flotilla/client'
import { type Command, type Completes, UsageError } from '../command.ts'
import { globalOptions } from '../parse.ts'
import { print } from '../print.ts'

/** What the shell is told of a command: its options, and what its arguments and values of options are. */
interface Completion {
  readonly name: string
  readonly options: readonly string[]
  readonly values: ReadonlyArray<readonly [string, Completes | 'none']>
  readonly completes: Completes | undefined
}

function completionsOf(commands: readonly Command[]): Completion[] {
  return commands
    .filter(({ name }) => !name.startsWith('__'))
    .map(({ name, options = {}, completes }) => {
      const all = Object.entries({ ...globalOptions, ...options })
      return {
        name,
        options: all.map(([option]) => `--${option}`).sort(),
        values: all.flatMap(([option, { type, short, completes: what }]) =>
          type === 'string'
            ? [`--${option}`, ...(short ? [`-${short}`] : [])].map((word) => [word, what ?? 'none'] as const)
            : [],
        ),
        completes,
      }
    })
}

/** Commands and their seconds words, as the shell offers them. */
function wordsOf(all: readonly Completion[]): Map<string, string[]> {
  const words = new Map<string, string[]>()
  for (const { name } of all) {
    const [first = '', second] = name.split(' ')
    words.set(first, [...(words.get(first) ?? []), ...(second ? [second] : [])])
  }
  return words
}

function bash(all: readonly Completion[]): string {
  const words = wordsOf(all)
  const cases = all.map(({ name, options, values, completes }) => {
    const byValue = values.map(([word, what]) => `${word}) what=${what} ;;`).join(' ')
    return `    '${name}') options='${options.join(' ')}' what=${completes ?? 'none'}; case $previous in ${byValue} esac ;;`
  })
  const groups = [...words]
    .filter(([, seconds]) => seconds.length > 0)
    .map(([first, seconds]) => `    ${first}) words='${seconds.join(' ')}' ;;`)
  return `# flotilla for bash: source <(flotilla completion bash)
_flotilla() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} words= options= what=none command=\${COMP_WORDS[1]}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '${[...words.keys()].join(' ')}' -- "$current"))
    return
  fi
  case $command in
${groups.join('\n')}
  esac
  if ((COMP_CWORD == 2)) && [[ -n $words && $current != -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [[ \${#COMPREPLY[@]} -gt 0 ]] && return
  fi
  if [[ -n $words && " $words " == *" \${COMP_WORDS[2]} "* ]]; then command="$command \${COMP_WORDS[2]}"; fi
  case $command in
${cases.join('\n')}
  esac
  case $current in -*) COMPREPLY=($(compgen -W "$options" -- "$current")); return ;; esac
  case $what in
    files) COMPREPLY=($(compgen -f -- "$current")) ;;
    nodes | containers | images) COMPREPLY=($(compgen -W "$(flotilla __names $what 2>/dev/null)" -- "$current")) ;;
  esac
}
complete -F _flotilla flotilla
`
}

function zsh(all: readonly Completion[]): string {
  return `#compdef flotilla
# flotilla for zsh: source <(flotilla completion zsh)
autoload -U +X bashcompinit && bashcompinit
${bash(all).split('\n').slice(1).join('\n')}`
}

function fish(all: readonly Completion[]): string {
  const lines = ['# flotilla for fish: flotilla completion fish | source', 'complete -c flotilla -f']
  for (const [first, seconds] of wordsOf(all)) {
    lines.push(`complete -c flotilla -n __fish_use_subcommand -a ${first}`)
    for (const second of seconds)
      lines.push(
        `complete -c flotilla -n '__fish_seen_subcommand_from ${first}; and not __fish_seen_subcommand_from ${seconds.join(' ')}' -a ${second}`,
      )
  }
  for (const { name, values, options, completes } of all) {
    const when = name
      .split(' ')
      .map((word) => `__fish_seen_subcommand_from ${word}`)
      .join('; and ')
    const taking = new Map(values)
    for (const option of options) {
      const what = taking.get(option)
      const offered =
        what === 'files'
          ? ' -r -F'
          : what === undefined
            ? ''
            : ` -x${what === 'none' ? '' : ` -a '(flotilla __names ${what} 2>/dev/null)'`}`
      lines.push(`complete -c flotilla -n '${when}' -l ${option.slice(2)}${offered}`)
    }
    if (completes && completes !== 'files')
      lines.push(`complete -c flotilla -n '${when}' -a '(flotilla __names ${completes} 2>/dev/null)'`)
  }
  return `${lines.join('\n')}\n`
}

const shells: Readonly<Record<string, (all: readonly Completion[]) => string>> = { bash, zsh, fish }

export function completion(commands: () => readonly Command[]): Command {
  return {
    name: 'completion',
    arguments: 'bash|zsh|fish',
    summary: 'Print what makes a shell complete our commands',
    details: 'As in: source <(flotilla completion bash)',
    count: { min: 1, max: 1 },
    async run({ args }) {
      const write = shells[args[0] ?? '']
      if (write === undefined) throw new UsageError(`"${args[0]}" is not bash, zsh or fish`)
      process.stdout.write(write(completionsOf(commands())))
      return undefined
    },
  }
}

const listings: Readonly<Record<string, (client: Client) => Promise<string[]>>> = {
  nodes: async (client) => (await client.nodes.list({})).nodes.map(({ name }) => name),
  containers: async (client) => (await client.containers.list({})).containers.map(({ id }) => id),
  images: async (client) => (await client.images.list({})).images.map(({ name }) => name),
}

/** What completion asks for: names of things there are. */
export const names: Command = {
  name: '__names',
  arguments: 'nodes|containers|images',
  summary: 'For completion',
  count: { min: 1, max: 1 },
  async run({ client, args }) {
    try {
      for (const name of (await listings[args[0] ?? '']?.(client.with({ timeout: 2_000 }))) ?? []) print(name)
    } catch (error) {
      // A shell has nothing to do with why.
      if (!hasCode(error, status.UNAVAILABLE)) return 1
    }
    return 0
  },
}
