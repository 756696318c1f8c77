import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface SupervisedServer {
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  /** Where its output goes. */
  readonly log: string
  /** Holds its process id, so that the next owner finds one that outlived us. */
  readonly pidFile: string
  /** Resolves once the server answers; called again and again until then. */
  ready(): Promise<boolean>
  /** Told of each unexpected end. */
  readonly onRestart?: (reason: string) => void
}

/** Milliseconds a server has for its start and for its end. */
const startLimit = 20_000
const stopLimit = 10_000

async function alive(pid: number, command: string): Promise<boolean> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes(command)
  } catch {
    return false
  }
}

async function untilGone(pid: number, command: string, limit: number): Promise<boolean> {
  for (const end = Date.now() + limit; Date.now() < end; await sleep(5)) if (!(await alive(pid, command))) return true
  return false
}

/** Ends a server that an earlier owner left behind; it may be busy ending by itself. */
async function endPredecessor(server: SupervisedServer): Promise<void> {
  const text = await readFile(server.pidFile, 'utf8').catch(() => '')
  const pid = Number(text)
  if (!(pid > 1) || !(await alive(pid, server.command))) return
  process.kill(pid, 'SIGTERM')
  if (await untilGone(pid, server.command, stopLimit)) return
  process.kill(pid, 'SIGKILL')
  await untilGone(pid, server.command, stopLimit)
}

/**
 * Runs a server process for as long as its owner lives. Throws when it does not become ready. The child is told by the
 * kernel when we die (`setpriv --pdeathsig`), so a killed owner leaves none behind.
 */
export async function supervise(server: SupervisedServer): Promise<AsyncDisposable> {
  mkdirSync(dirname(server.log), { recursive: true })
  await endPredecessor(server)
  let stopping = false
  let child: ChildProcess | undefined
  let delay = 10

  function start(): void {
    const log = openSync(server.log, 'a', 0o600)
    const started = spawn('setpriv', ['--pdeathsig', 'TERM', server.command, ...server.args], {
      cwd: server.cwd,
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    child = started
    started.once('error', (error) => ended(error.message))
    started.once('exit', (code, signal) => ended(signal ?? `exit status ${code}`))
    if (started.pid !== undefined) void writeFile(server.pidFile, String(started.pid)).catch(() => {})
    let over = false
    function ended(reason: string) {
      if (over || child !== started) return
      over = true
      child = undefined
      if (stopping) return
      server.onRestart?.(reason)
      setTimeout(() => stopping || start(), delay)
      delay = Math.min(delay * 2, 1_000)
    }
  }

  start()
  const end = Date.now() + startLimit
  for (;;) {
    if (await server.ready().catch(() => false)) break
    if (Date.now() > end) {
      await stop()
      const words = (await readFile(server.log, 'utf8').catch(() => '')).trim().split('\n').slice(-3).join(' | ')
      throw new Error(`${server.command} did not start within ${startLimit / 1_000} s: ${words}`)
    }
    await sleep(5)
  }
  delay = 10

  async function stop(): Promise<void> {
    stopping = true
    const running = child
    if (running?.pid === undefined) return
    running.kill('SIGTERM')
    if (!(await untilGone(running.pid, server.command, stopLimit))) running.kill('SIGKILL')
    await rm(server.pidFile, { force: true })
  }
  return { [Symbol.asyncDispose]: stop }
}
