import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { until } from '@flotilla/testing'
import type { CtrResult } from './ctr.ts'
import { repository } from './versions.ts'

const program = join(repository, 'tools/flotilla')
const longestRun = 120_000

export interface Invocation {
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  /** Gives the command a terminal, 80 by 24. */
  readonly terminal?: boolean
}

/** A `flotilla` that runs. */
export interface RunningFlotilla {
  readonly child: ChildProcessWithoutNullStreams
  readonly result: Promise<CtrResult>
  /** Waits until its standard output fits. */
  prints(pattern: RegExp): Promise<string>
}

export function startFlotilla({ args, env, terminal }: Invocation): RunningFlotilla {
  const quote = (word: string) => `'${word.replaceAll("'", "'\\''")}'`
  const line = `stty cols 80 rows 24; ${[program, ...args].map(quote).join(' ')}`
  const child = spawn(terminal ? 'script' : program, terminal ? ['-qec', line, '/dev/null'] : [...args], {
    env: { ...process.env, ...env },
    timeout: longestRun,
    killSignal: 'SIGKILL',
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  // It may be gone before it has read all.
  child.stdin.on('error', () => {})
  return {
    child,
    result: once(child, 'close').then(([code]) => ({ code: (code as number | null) ?? -1, stdout, stderr })),
    prints: (pattern) =>
      until(`flotilla ${args.join(' ')} to print ${pattern}`, () => pattern.test(stdout) && stdout, {
        dead: () => (child.exitCode === null ? undefined : `it ended with ${child.exitCode}: ${stdout}${stderr}`),
      }),
  }
}

/** Runs `flotilla` to its end. */
export async function runFlotilla(invocation: Invocation): Promise<CtrResult> {
  const running = startFlotilla(invocation)
  // A terminal whose input ends at once would type an end-of-file into the command.
  if (invocation.input !== undefined || !invocation.terminal) running.child.stdin.end(invocation.input)
  return await running.result
}
