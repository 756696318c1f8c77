import { setTimeout as sleep } from 'node:timers/promises'
import type { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import type { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { Status } from '@flotilla/api/containerd/v1/types/types'
import type { LogsDefinition, NodeLogsDefinition } from '@flotilla/api/flotilla/stdio/v1/stdio'
import { type Call, hasCode, type ServiceOf, status } from '@flotilla/rpc'

export interface LogsDeps {
  readonly containers: ServiceOf<typeof ContainersDefinition>
  readonly tasks: ServiceOf<typeof TasksDefinition>
  readonly node: (name: string) => ServiceOf<typeof NodeLogsDefinition>
  /** Of containers that do not say. */
  readonly localNode: string
}

/** Milliseconds between two looks at a log that is followed. */
const interval = 200

/** Logs of containers, wherever they run. */
export function createLogsService(deps: LogsDeps): ServiceOf<typeof LogsDefinition> {
  async function nodeOf(id: string, call: Call) {
    const { container } = await deps.containers.get({ id }, call)
    return deps.node(container?.labels['flotilla.io/node'] ?? deps.localNode)
  }

  async function hasEnded(containerId: string, call: Call): Promise<boolean> {
    try {
      const { process } = await deps.tasks.get({ containerId, execId: '' }, call)
      return process?.status === Status.STOPPED
    } catch (error) {
      if (hasCode(error, status.NOT_FOUND)) return true
      // Of a node that does not answer nothing is known.
      if (hasCode(error, status.UNAVAILABLE)) return false
      throw error
    }
  }

  return {
    async prepare(request, call) {
      return await (await nodeOf(request.containerId, call)).prepare(request, call)
    },
    async *read({ containerId, follow, tail }, call) {
      const node = await nodeOf(containerId, call)
      let offset = tail > 0 ? -tail : 0
      for (let ended = false; ; ) {
        const part = await node.read({ containerId, offset }, call)
        offset = part.offset + part.data.length
        if (part.data.length > 0) {
          yield { data: part.data }
          continue
        }
        if (!follow || ended) return
        // What was written before the end is there after it.
        ended = await hasEnded(containerId, call)
        if (!ended) await sleep(interval, undefined, { signal: call.signal })
      }
    },
  }
}
