import type { WaitCommand } from '@flotilla/api/flotilla/node/v1/node'
import { type Call, hasCode, makeCall, notFound, status } from '@flotilla/rpc'
import { type Exit, now } from './exit.ts'
import type { Node } from './node.ts'
import { type Task, taskKey } from './task.ts'

/** Longest wait of one command, milliseconds. */
export const longestWait = 20_000

/**
 * Metadata that a caller sets when it asks again for a process that it knows was there: then an exit that happened
 * between two commands, whose task has been removed since, is still its answer.
 */
export const waitAgainHeader = 'flotilla-wait-again'

/**
 * How a process ended, or undefined when it has not within the command's time. Works before the process starts and
 * after it ended. NOT_FOUND when there is no such process.
 */
export async function waitForExit(
  node: Node,
  namespace: string,
  { containerId, execId, timeoutMs }: WaitCommand,
  call: Call,
): Promise<Exit | undefined> {
  const task = node.tasks.get(taskKey(namespace, containerId))
  if (!task) {
    const last = call.metadata.has(waitAgainHeader) ? node.ledger.lastExit(namespace, containerId, execId) : undefined
    if (last) return last
    throw notFound(`task ${containerId} not found`)
  }
  const process = task.record.processes.get(execId)
  if (process?.exit) return process.exit
  const atShim = sharedWait(task, execId)
  const exited = process ? Promise.race([process.exited, atShim]) : atShim
  return await within(exited, Math.min(timeoutMs, longestWait), call.signal)
}

/** The one wait for a process at its shim: a shim keeps each until the exit, so they must not pile up. */
function sharedWait(task: Task, execId: string): Promise<Exit> {
  const running = task.waits.get(execId)
  if (running) return running
  const wait = waitAtShim(task, execId)
  task.waits.set(execId, wait)
  const forget = () => {
    if (task.waits.get(execId) === wait) task.waits.delete(execId)
  }
  wait.then(forget, forget)
  return wait
}

async function waitAtShim(task: Task, execId: string): Promise<Exit> {
  const { id, namespace } = task
  for (;;) {
    const process = task.record.processes.get(execId)
    try {
      const answer = await task.shim.tasks.wait({ id, execId }, makeCall({ namespace }))
      const exit = { pid: process?.pid ?? 0, status: answer.exitStatus, at: answer.exitedAt ?? now() }
      process?.end(exit)
      return exit
    } catch (error) {
      if (!hasCode(error, status.UNAVAILABLE)) throw error
      if (await task.shim.alive()) {
        if (task.shim.isReleased) throw error
        continue
      }
      await task.gone
      if (process?.exit) return process.exit
      throw notFound(`task ${id} not found`)
    }
  }
}

/** What a promise resolves to, or undefined after so many milliseconds. */
export async function within<T>(exited: Promise<T>, timeout: number, signal: AbortSignal): Promise<T | undefined> {
  signal.throwIfAborted()
  const { promise: over, reject, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(resolve, timeout, undefined)
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([exited, over])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}
