import { constants } from 'node:os'
import { type Command, text, UsageError } from '../command.ts'

/** `TERM`, `SIGTERM` or `15`. */
function signalOf(word: string): number {
  const name = word.toUpperCase()
  const signals = constants.signals as Readonly<Record<string, number>>
  const number = /^\d+$/.test(word) ? Number(word) : (signals[name] ?? signals[`SIG${name}`])
  if (number === undefined || number < 1 || number > 64) throw new UsageError(`"${word}" is not a signal`)
  return number
}

export const kill: Command = {
  name: 'kill',
  arguments: 'CONTAINER…',
  summary: 'Send containers a signal, wherever they run',
  options: { signal: { type: 'string', short: 's', value: 'SIGNAL', text: 'TERM unless given' } },
  count: { min: 1, max: Number.POSITIVE_INFINITY },
  completes: 'containers',
  async run({ client, args, values }) {
    const signal = signalOf(text(values, 'signal') ?? 'TERM')
    for (const containerId of args) await client.tasks.kill({ containerId, signal })
    return undefined
  },
}
