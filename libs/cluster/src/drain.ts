import { type Process, Status } from '@flotilla/api/containerd/v1/types/types'
import { type DrainProgress, DrainProgress_State as State } from '@flotilla/api/flotilla/cluster/v1/nodes'
import type { NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import type { Metadata } from '@flotilla/metadata'
import { type Call, hasCode, type ServiceOf, status, toRpcError, withCall } from '@flotilla/rpc'

export interface DrainDeps {
  readonly metadata: Pick<Metadata, 'namespaceNames'>
  readonly tasks: (node: string) => Pick<ServiceOf<NodeTasksDefinition>, 'list' | 'kill' | 'wait'>
}

const sigterm = 15
const sigkill = 9
/** Milliseconds for a killed task to end. */
const afterKill = 10_000

interface Running {
  readonly namespace: string
  readonly id: string
}

const ended = ({ status }: Process) => status === Status.STOPPED || status === Status.UNKNOWN

/** Ends the tasks of a node, telling of each when it is told to end and when it has. */
export async function* drain(deps: DrainDeps, node: string, grace: number, call: Call): AsyncGenerator<DrainProgress> {
  const tasks = deps.tasks(node)
  const running: Running[] = []
  for (const namespace of await deps.metadata.namespaceNames()) {
    const found = (await tasks.list({ filter: '' }, withCall(call, { namespace }))).tasks
    running.push(...found.filter((task) => !ended(task)).map(({ id }) => ({ namespace, id })))
  }
  let remaining = running.length
  const progress = ({ id, namespace }: Running, state: State, message = ''): DrainProgress => ({
    namespace,
    containerId: id,
    state,
    message,
    remaining,
  })

  for (const task of running) yield progress(task, State.STOPPING)
  const endings = new Map(running.map((task) => [task, end(task).then((outcome) => ({ task, ...outcome }))] as const))
  while (endings.size > 0) {
    const { task, state, message } = await Promise.race(endings.values())
    endings.delete(task)
    if (state !== State.FAILED) remaining--
    yield progress(task, state, message)
  }

  async function end({ id, namespace }: Running): Promise<{ state: State; message: string }> {
    const there = withCall(call, { namespace })
    const signal = async (number: number) => {
      try {
        await tasks.kill({ containerId: id, execId: '', signal: number, all: number === sigkill }, there)
      } catch (error) {
        // It ended by itself.
        if (!hasCode(error, status.NOT_FOUND)) throw error
      }
    }
    const exits = async (within: number): Promise<boolean> => {
      for (const until = Date.now() + within; ; ) {
        const timeoutMs = Math.min(20_000, Math.max(0, until - Date.now()))
        const { exited } = await tasks.wait({ containerId: id, execId: '', timeoutMs }, there)
        if (exited || Date.now() >= until) return exited
      }
    }
    try {
      await signal(sigterm)
      if (await exits(grace)) return { state: State.STOPPED, message: '' }
      await signal(sigkill)
      if (await exits(afterKill)) return { state: State.KILLED, message: '' }
      return { state: State.FAILED, message: 'it does not end' }
    } catch (error) {
      if (hasCode(error, status.NOT_FOUND)) return { state: State.STOPPED, message: '' }
      return { state: State.FAILED, message: toRpcError(error).message }
    }
  }
}
