import { createHash } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A running process of a shim binary. */
export interface ShimProcess {
  readonly pid: number
  readonly namespace: string
  readonly id: string
  /** `start` or `delete` for a helper that will end by itself; undefined for the shim itself. */
  readonly action: string | undefined
}

/** All processes of shims that were started for the daemon at this address, found by their command lines. */
export async function shimProcesses(grpcAddress: string): Promise<ShimProcess[]> {
  const found: ShimProcess[] = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const args = (await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '')).split('\0')
    const value = (flag: string) => {
      const at = args.indexOf(flag)
      return at < 0 ? undefined : args[at + 1]
    }
    const namespace = value('-namespace')
    const id = value('-id')
    if (value('-address') !== grpcAddress || namespace === undefined || id === undefined) continue
    const last = args.findLast((arg) => arg !== '')
    const action = last === 'start' || last === 'delete' ? last : undefined
    found.push({ pid: Number(entry), namespace, id, action })
  }
  return found
}

/**
 * Lets helpers that an earlier life of ours started run to their end, so that what they make is there to be found.
 * Those that take longer than `patience` milliseconds are killed.
 */
export async function awaitHelpers(grpcAddress: string, patience: number): Promise<void> {
  const end = Date.now() + patience
  for (;;) {
    const helpers = (await shimProcesses(grpcAddress)).filter((shim) => shim.action !== undefined)
    if (helpers.length === 0) return
    if (Date.now() > end) for (const { pid } of helpers) kill(pid)
    await sleep(20)
  }
}

/** Kills a process; no error when it is gone already. */
export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

/** Where shims make their socket unless told otherwise: named by what they were started for. */
export function defaultSocket(grpcAddress: string, namespace: string, id: string): string {
  const name = createHash('sha256')
    .update(join(grpcAddress, namespace, id))
    .digest('hex')
  return join('/run/containerd/s', name)
}

/** The shims, not helpers, that were started for a task, but for those that serve others: by process id. */
export async function shimsOf(
  grpcAddress: string,
  task: { readonly namespace: string; readonly id: string },
  serving: ReadonlySet<number>,
): Promise<ShimProcess[]> {
  return (await shimProcesses(grpcAddress)).filter(
    ({ id, namespace, pid }) => namespace === task.namespace && id === task.id && !serving.has(pid),
  )
}

/** Kills shims and removes the sockets that they leave. */
export async function killShims(grpcAddress: string, shims: readonly ShimProcess[]): Promise<void> {
  for (const { id, namespace, pid } of shims) {
    kill(pid)
    await rm(defaultSocket(grpcAddress, namespace, id), { force: true })
  }
}
