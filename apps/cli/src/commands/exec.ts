import { exec as execIn, type Process } from '@flotilla/client'
import { type Command, flag, text, texts } from '../command.ts'
import { attach, checkTerminal, streamOptions } from './attach.ts'
import { notStarted } from './run.ts'

export const exec: Command = {
  name: 'exec',
  arguments: 'CONTAINER COMMAND…',
  summary: 'Run a further command in a running container, wherever it runs',
  options: {
    ...streamOptions,
    env: { type: 'string', short: 'e', multiple: true, value: 'NAME=VALUE', text: 'besides those of the container' },
    user: { type: 'string', short: 'u', value: 'USER[:GROUP]', text: "instead of the container's" },
    workdir: { type: 'string', short: 'w', value: 'DIR', text: "instead of the container's" },
  },
  count: { min: 2, max: Number.POSITIVE_INFINITY },
  opaqueAfter: 1,
  completes: 'containers',
  async run({ client, args, values, signal }) {
    const [container = '', ...command] = args
    const [interactive, terminal] = [flag(values, 'interactive'), flag(values, 'tty')]
    checkTerminal(terminal)
    let started: Process
    try {
      started = await execIn(client, {
        signal,
        container,
        args: command,
        env: texts(values, 'env'),
        user: text(values, 'user'),
        cwd: text(values, 'workdir'),
        terminal,
        stdin: interactive,
      })
    } catch (error) {
      process.stderr.write(`flotilla exec: ${error instanceof Error ? error.message : String(error)}\n`)
      return notStarted
    }
    return await attach(started, { interactive, terminal, signal })
  },
}
