import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { until } from './until.ts'

export interface ServerOptions {
  readonly command: string
  readonly args: readonly string[]
  /** Standard output and error go to the end of this file. */
  readonly log: string
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Answers true once the server serves; an error means not yet. */
  readonly ready: () => Promise<boolean>
  /** Milliseconds to wait for readiness. */
  readonly timeout?: number
  /** Milliseconds between two looks whether it serves. */
  readonly every?: number
}

/** A server in a process of its own, that can be killed and started again with the same arguments. */
export interface ServerProcess extends AsyncDisposable {
  /** Of the process that runs now; undefined while it does not. */
  readonly pid: number | undefined
  readonly log: string
  /** Ends the process by a signal (SIGKILL unless said otherwise) and waits for its end. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Starts it (after killing it, if it runs) and waits for readiness. */
  restart(): Promise<void>
}

/** The last part of a log, for error messages. */
export function tailOf(log: string, lines = 20): string {
  try {
    return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
  } catch {
    return '(no log)'
  }
}

/** Starts a server and waits until it is ready. It dies with this process, even if that is killed. */
export async function startServer(options: ServerOptions): Promise<ServerProcess> {
  let child: ChildProcess | undefined

  async function start() {
    const log = openSync(options.log, 'a')
    const started = spawn('setpriv', ['--pdeathsig', 'KILL', options.command, ...options.args], {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...options.env },
      cwd: options.cwd,
    })
    closeSync(log)
    child = started
    started.once('exit', () => {
      if (child === started) child = undefined
    })
    started.once('error', () => {
      if (child === started) child = undefined
    })
    await until(`${options.command} to serve (log ${options.log})`, options.ready, {
      timeout: options.timeout ?? 30_000,
      ...(options.every === undefined ? {} : { every: options.every }),
      dead: () => (child === undefined ? `it has ended:\n${tailOf(options.log)}` : undefined),
    })
  }

  async function kill(signal: NodeJS.Signals = 'SIGKILL') {
    const running = child
    if (running === undefined) return
    const ended = once(running, 'exit')
    running.kill(signal)
    await ended
  }

  const server: ServerProcess = {
    get pid() {
      return child?.pid
    },
    log: options.log,
    kill,
    async restart() {
      await kill()
      await start()
    },
    async [Symbol.asyncDispose]() {
      const hard = setTimeout(() => child?.kill('SIGKILL'), 5_000)
      await kill('SIGTERM')
      clearTimeout(hard)
    },
  }
  try {
    await start()
  } catch (error) {
    await kill()
    throw error
  }
  return server
}
