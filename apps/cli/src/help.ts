import type { Command, Option } from './command.ts'
import { globalOptions } from './parse.ts'

function optionLines(options: Readonly<Record<string, Option>>): string[] {
  const rows = Object.entries(options).map(([name, option]) => {
    const value = option.value === undefined ? '' : ` ${option.value}`
    return [`${option.short ? `-${option.short}, ` : '    '}--${name}${value}`, option.text] as const
  })
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`)
}

/** Help of one command. */
export function commandHelp(command: Command): string {
  const own = Object.keys(command.options ?? {}).length > 0
  return [
    `usage: flotilla ${command.name}${own ? ' [OPTIONS]' : ''}${command.arguments ? ` ${command.arguments}` : ''}`,
    '',
    `${command.summary}.`,
    ...(own ? ['', 'Options:', ...optionLines(command.options ?? {})] : []),
    ...(command.details ? ['', command.details.trim()] : []),
    '',
    'Options of all commands:',
    ...optionLines(globalOptions),
    '',
  ].join('\n')
}

/** Help of the program, or of a group of commands such as `nodes`. */
export function overview(commands: readonly Command[], group = ''): string {
  const shown = commands.filter(({ name }) => name.startsWith(group))
  const width = Math.max(...shown.map(({ name, arguments: args }) => `${name} ${args ?? ''}`.length))
  return [
    `usage: flotilla ${group === '' ? 'COMMAND' : group} [OPTIONS]`,
    '',
    'containerd for a whole cluster, from the command line.',
    '',
    ...shown.map((each) => `  ${`${each.name} ${each.arguments ?? ''}`.padEnd(width)}  ${each.summary}`),
    '',
    'Options of all commands:',
    ...optionLines(globalOptions),
    '',
    'flotilla COMMAND --help tells more. Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 not allowed,',
    '5 not reachable; run and exec: that of the command, 125 if it was not started.',
    '',
  ].join('\n')
}
