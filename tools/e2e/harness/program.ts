import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { until } from '@flotilla/testing'

export interface Invocation {
  readonly args: readonly string[]
  /** Gives the program a terminal, 80 by 24. */
  readonly terminal?: boolean | undefined
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Milliseconds after which it is killed; two minutes unless given. */
  readonly longest?: number | undefined
}

export interface Result {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A command line program that runs. */
export interface Running {
  readonly child: ChildProcessWithoutNullStreams
  /** What it has printed so far. */
  readonly output: () => { stdout: string; stderr: string }
  readonly result: Promise<Result>
  /** Waits until its standard output fits. */
  prints(pattern: RegExp): Promise<string>
}

/** Starts a program, called `name` in messages; it is killed if it has not ended in time. */
export function startProgram(
  name: string,
  program: string,
  { args, env, longest = 120_000, terminal }: Invocation,
): Running {
  const quote = (word: string) => `'${word.replaceAll("'", "'\\''")}'`
  const line = `stty cols 80 rows 24; ${[program, ...args].map(quote).join(' ')}`
  const child = spawn(terminal ? 'script' : program, terminal ? ['-qec', line, '/dev/null'] : [...args], {
    env: { ...process.env, ...env },
    timeout: longest,
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
    output: () => ({ stdout, stderr }),
    result: once(child, 'close').then(([code]) => ({ code: (code as number | null) ?? -1, stdout, stderr })),
    prints: (pattern) =>
      until(`${name} to print ${pattern}`, () => pattern.test(stdout) && stdout, {
        dead: () =>
          child.exitCode === null ? undefined : `it ended with ${child.exitCode}, having printed ${stdout}${stderr}`,
      }),
  }
}

/** Gives a program its input, if there is any, and waits for its end. */
export async function finish(
  running: Running,
  invocation: Invocation,
  input: string | Buffer | undefined,
): Promise<Result> {
  // A terminal whose input ends at once would type an end-of-file into the command.
  if (input !== undefined || !invocation.terminal) running.child.stdin.end(input)
  return await running.result
}
