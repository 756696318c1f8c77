import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { until } from '@flotilla/testing'
import { programOf, type Version } from './versions.ts'

export interface CtrInvocation {
  readonly address: string
  readonly version: Version
  readonly args: readonly string[]
  readonly namespace?: string
  /** Gives the command a terminal, 80 by 24. */
  readonly terminal?: boolean
  readonly env?: Readonly<Record<string, string>>
}

export interface CtrResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A `ctr` that runs. */
export interface RunningCtr {
  readonly child: ChildProcessWithoutNullStreams
  /** What it has printed so far. */
  readonly output: () => { stdout: string; stderr: string }
  readonly result: Promise<CtrResult>
  /** Waits until its standard output fits. */
  prints(pattern: RegExp): Promise<string>
}

const longestRun = 120_000

export function startCtr(invocation: CtrInvocation): RunningCtr {
  const program = programOf(invocation.version, 'ctr')
  const namespace = invocation.namespace === undefined ? [] : ['--namespace', invocation.namespace]
  const args = ['--address', invocation.address, ...namespace, ...invocation.args]
  const quote = (word: string) => `'${word.replaceAll("'", "'\\''")}'`
  const command = [program, ...args].map(quote).join(' ')
  const child = spawn(
    invocation.terminal ? 'script' : program,
    invocation.terminal ? ['-qec', `stty cols 80 rows 24; ${command}`, '/dev/null'] : args,
    { env: { ...process.env, ...invocation.env }, timeout: longestRun, killSignal: 'SIGKILL' },
  )
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
  const result = once(child, 'close').then(([code]) => ({ code: (code as number | null) ?? -1, stdout, stderr }))
  return {
    child,
    output: () => ({ stdout, stderr }),
    result,
    prints: (pattern) =>
      until(`ctr ${invocation.args.join(' ')} to print ${pattern}`, () => pattern.test(stdout) && stdout, {
        dead: () =>
          child.exitCode === null ? undefined : `it ended with ${child.exitCode}, having printed ${stdout}${stderr}`,
      }),
  }
}

/** Runs an unmodified `ctr` to its end. */
export async function runCtr(invocation: CtrInvocation & { readonly input?: string | Buffer }): Promise<CtrResult> {
  const running = startCtr(invocation)
  // A terminal whose input ends at once would type an end-of-file into the command.
  if (invocation.input !== undefined || !invocation.terminal) running.child.stdin.end(invocation.input)
  return running.result
}
