import { subscribe } from '@flotilla/client'
import { type Command, flag, number, text, texts, UsageError } from '../command.ts'
import { asJson, print } from '../print.ts'

export const events: Command = {
  name: 'events',
  summary: "Tell the cluster's events as they come, each once and in order",
  options: {
    'from-sequence': { type: 'string', value: 'NUMBER', text: 'begin with this one; 0 is the oldest kept' },
    'from-time': { type: 'string', value: 'TIME', text: 'begin at a time, as 2026-01-31T12:00:00Z' },
    filter: {
      type: 'string',
      short: 'f',
      multiple: true,
      value: 'FILTER',
      text: `containerd's, as in 'topic~="^/tasks/"'; several: any of them`,
    },
    node: { type: 'string', value: 'NAME', text: 'only what happened on this node', completes: 'nodes' },
    'no-follow': { type: 'boolean', text: 'end when those that there are have been told' },
  },
  details: 'Goes on where it was when the connection breaks. The first column is the number for --from-sequence.',
  async run({ client, values, json, signal }) {
    const [sequence, time] = [number(values, 'from-sequence'), text(values, 'from-time')]
    if (sequence !== undefined && time !== undefined)
      throw new UsageError('--from-sequence and --from-time exclude each other')
    const date = time === undefined ? undefined : new Date(time)
    if (date && Number.isNaN(date.getTime())) throw new UsageError(`--from-time "${time}" is not a time`)
    for await (const event of subscribe(client, {
      from: sequence ?? date,
      filters: texts(values, 'filter'),
      node: text(values, 'node'),
      follow: !flag(values, 'no-follow'),
      signal,
    })) {
      const { value: _, ...shown } = event
      print(
        json
          ? asJson(shown)
          : `${event.sequence} ${event.time.toISOString()} ${event.node || '-'} ${event.namespace} ${event.topic} ${asJson(event.message)}`,
      )
    }
    return undefined
  },
}
