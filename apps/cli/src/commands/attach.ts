import { constants } from 'node:os'
import { pipeline } from 'node:stream/promises'
import type { Process } from '@flotilla/client'
import { UsageError } from '../command.ts'

export interface AttachOptions {
  readonly interactive: boolean
  readonly terminal: boolean
  readonly signal: AbortSignal
}

/** Options of commands that have a process's streams at this program's own. */
export const streamOptions = {
  interactive: { type: 'boolean', short: 'i', text: 'pass our input on' },
  tty: { type: 'boolean', short: 't', text: 'give it a terminal' },
} as const

/** A terminal needs one here. */
export function checkTerminal(wanted: boolean): void {
  if (wanted && !process.stdin.isTTY) throw new UsageError('--tty needs a terminal as our own input')
}

/**
 * Connects a process with our own streams until it ends; answers its exit status. SIGINT and SIGTERM go to the process;
 * the keys of a terminal go there as they are.
 */
export async function attach(target: Process, { interactive, terminal, signal }: AttachOptions): Promise<number> {
  await using undo = new AsyncDisposableStack()
  const outputs = [
    target.stdout && pipeline(target.stdout, process.stdout, { end: false }),
    target.stderr && pipeline(target.stderr, process.stderr, { end: false }),
  ]
  if (terminal) {
    const size = () => target.resize(process.stdout.columns ?? 80, process.stdout.rows ?? 24).catch(() => {})
    process.stdin.setRawMode(true)
    process.stdout.on('resize', size)
    undo.defer(() => {
      process.stdin.setRawMode(false)
      process.stdout.off('resize', size)
    })
    await size()
  }
  if (interactive && target.stdin) {
    process.stdin.pipe(target.stdin)
    undo.defer(() => {
      process.stdin.unpipe()
      process.stdin.pause()
      process.stdin.unref?.()
    })
  }
  const pass = () => void target.kill(constants.signals.SIGTERM).catch(() => {})
  signal.addEventListener('abort', pass, { once: true })
  undo.defer(() => signal.removeEventListener('abort', pass))
  const { code } = await target.wait()
  await Promise.all([target.delete(), ...outputs])
  return code
}
