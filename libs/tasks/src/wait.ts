import { setTimeout as sleep } from 'node:timers/promises'
import type { WaitRequest, WaitResponse } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { type Call, hasCode, status, withCall } from '@flotilla/rpc'
import type { NodeTasksClient } from './deps.ts'

/** Milliseconds of one wait at the node, which bounds what a lost connection can cost. */
const roundTimeout = 20_000

/** Pause before a node that did not answer is asked again, milliseconds: first and longest. */
const pauses = { first: 50, longest: 1_000 } as const

/** Tells the node that the process was there when this wait began: an exit in between two rounds still counts. */
const againHeader = 'flotilla-wait-again'

/**
 * Waits for a process, in bounded rounds, for as long as the caller does. Once the node has said that the process is
 * there, a node that does not answer is waited for too: its containers run on while its agent restarts.
 */
export async function waitForExit(
  node: NodeTasksClient,
  { containerId, execId }: WaitRequest,
  call: Call,
): Promise<WaitResponse> {
  const again = withCall(call, { metadata: new Map([...call.metadata, [againHeader, '1']]) })
  let pause: number = pauses.first
  // The first round only asks whether the process is there.
  const first = await node.wait({ containerId, execId, timeoutMs: 0 }, call)
  if (first.exited) return { exitStatus: first.exitStatus, exitedAt: first.exitedAt }
  for (;;) {
    call.signal.throwIfAborted()
    try {
      const { exited, exitedAt, exitStatus } = await node.wait({ containerId, execId, timeoutMs: roundTimeout }, again)
      if (exited) return { exitStatus, exitedAt }
      pause = pauses.first
    } catch (error) {
      if (call.signal.aborted || !hasCode(error, status.UNAVAILABLE)) throw error
      await sleep(pause, undefined, { signal: call.signal })
      pause = Math.min(2 * pause, pauses.longest)
    }
  }
}
