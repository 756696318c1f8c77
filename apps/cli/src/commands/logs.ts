import { once } from 'node:events'
import { type Command, flag, number } from '../command.ts'

export const logs: Command = {
  name: 'logs',
  arguments: 'CONTAINER',
  summary: 'Print what a detached container has written, wherever it runs',
  options: {
    follow: { type: 'boolean', short: 'f', text: 'go on until it has ended' },
    tail: { type: 'string', value: 'LINES', text: 'only so many of the last lines' },
  },
  count: { min: 1, max: 1 },
  completes: 'containers',
  async run({ client, args, values, signal }) {
    const request = { containerId: args[0] ?? '', follow: flag(values, 'follow'), tail: number(values, 'tail') ?? 0 }
    for await (const { data } of client.logs.read(request, { signal }))
      if (!process.stdout.write(data)) await once(process.stdout, 'drain')
    return undefined
  },
}
