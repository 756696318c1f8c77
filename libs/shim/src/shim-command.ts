import { spawn } from 'node:child_process'
import { RpcError, status, toRpcError } from '@flotilla/rpc'

export interface ShimCommand {
  readonly binary: string
  readonly args: readonly string[]
  readonly cwd?: string
  readonly env: NodeJS.ProcessEnv
  readonly stdin?: Uint8Array | undefined
  /** Milliseconds after which it is killed. */
  readonly timeout: number
  readonly signal?: AbortSignal | undefined
}

export interface CommandResult {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

/** Milliseconds to wait for output once the process has ended: a daemon of its own may hold the pipe open. */
const outputGrace = 500

/** Most output that is kept, bytes. */
const maxOutput = 1 << 20

/**
 * Runs a shim binary in its own session, so that what signals us does not end it, and gives back what it wrote. An
 * exit other than 0 is not an error here.
 */
export function runShimCommand(command: ShimCommand): Promise<CommandResult> {
  const { binary, args, cwd, env, stdin, timeout, signal } = command
  signal?.throwIfAborted()
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, { cwd, env, detached: true, stdio: 'pipe' })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    let kept = 0
    const keep = (into: Buffer[]) => (chunk: Buffer) => {
      kept += chunk.length
      if (kept <= maxOutput) into.push(chunk)
    }
    let failure: RpcError | undefined
    const kill = (error: RpcError) => {
      failure = error
      child.kill('SIGKILL')
    }
    const onAbort = () => kill(toRpcError(signal?.reason))
    const timer = setTimeout(
      () => kill(new RpcError(status.DEADLINE_EXCEEDED, `${binary} did not end within ${timeout} ms`)),
      timeout,
    )
    let settled = false
    const settle = (code: number | null) => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      child.stdout.destroy()
      child.stderr.destroy()
      if (failure) reject(failure)
      else resolve({ code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() })
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    child.stdout.on('data', keep(stdout))
    child.stderr.on('data', keep(stderr))
    child.on('error', (error) => {
      failure ??= new RpcError(status.UNKNOWN, `${binary}: ${error.message}`, { cause: error })
      settle(null)
    })
    child.on('close', settle)
    child.on('exit', (code) => setTimeout(settle, outputGrace, code))
    // A shim that ends without reading is no failure of ours.
    child.stdin.on('error', () => {})
    child.stdin.end(stdin)
  })
}
