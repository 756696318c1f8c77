import { setTimeout as sleep } from 'node:timers/promises'
import { type ChildProgram, spawnProgram } from '@flotilla/linux'
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
export async function runShimCommand(command: ShimCommand): Promise<CommandResult> {
  const { args, binary, cwd, env, signal } = command
  signal?.throwIfAborted()
  const child = await spawnProgram(binary, args, { cwd, env }).catch((error: Error) => {
    throw new RpcError(status.UNKNOWN, error.message, { cause: error })
  })
  return await resultOf(child, command)
}

function resultOf(child: ChildProgram, { binary, signal, stdin, timeout }: ShimCommand): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
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
      child.kill()
    }
    const onAbort = () => kill(toRpcError(signal?.reason))
    const timer = setTimeout(
      () => kill(new RpcError(status.DEADLINE_EXCEEDED, `${binary} did not end within ${timeout} ms`)),
      timeout,
    )
    const settle = (code: number | null) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy()
      if (failure) reject(failure)
      else resolve({ code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() })
    }
    if (signal?.aborted) onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    child.stdout.on('data', keep(stdout))
    child.stderr.on('data', keep(stderr))
    const outputs = [child.stdout, child.stderr].map((stream) => {
      stream.on('error', (error) => {
        failure ??= new RpcError(status.UNKNOWN, `${binary}: ${error.message}`, { cause: error })
      })
      return new Promise((closed) => stream.once('close', closed))
    })
    void child.exited.then(async (code) => {
      await Promise.race([Promise.all(outputs), sleep(outputGrace, undefined, { ref: false })])
      settle(code)
    })
    // A shim that ends without reading is no failure of ours.
    child.stdin.on('error', () => {})
    child.stdin.end(stdin ?? '')
  })
}
