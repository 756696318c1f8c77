import type { TasksDefinition } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import { type Process, Process as ProcessMessage, Status } from '@flotilla/api/containerd/v1/types/types'
import { parseFilters } from '@flotilla/filters'
import { type Call, hasCode, requireNamespace, type ServiceOf, status } from '@flotilla/rpc'
import { checkpointTask, withCheckpoint } from './checkpoint.ts'
import type { NodeTasksClient, TasksDeps } from './deps.ts'
import { containersOn, locate, nodesOf, requireReady } from './locate.ts'
import { waitForExit } from './wait.ts'

export type { TasksDeps } from './deps.ts'

/** The tasks API over the tasks of all nodes. */
export function createTasksService(deps: TasksDeps): ServiceOf<typeof TasksDefinition> {
  /** A method that the task's node carries out as it is. */
  const onNode =
    <R extends { containerId: string }, A>(method: (node: NodeTasksClient, request: R, call: Call) => Promise<A>) =>
    async (request: R, call: Call): Promise<A> => {
      const { node } = await locate(deps, request.containerId, call)
      return await method(node, request, call)
    }

  return {
    async create(request, call) {
      const located = await locate(deps, request.containerId, call)
      const { container, node } = located
      const options = request.options ?? container.runtime?.options
      return await withCheckpoint(deps, located, request.checkpoint, options, call, (checkpointPath) =>
        node.create({ request: { ...request, options }, container, checkpointPath }, call),
      )
    },

    start: onNode((node, request, call) => node.start(request, call)),
    delete: onNode((node, request, call) => node.delete(request, call)),
    deleteProcess: onNode((node, request, call) => node.deleteProcess(request, call)),
    get: onNode((node, request, call) => node.get(request, call)),
    kill: onNode((node, request, call) => node.kill(request, call)),
    exec: onNode((node, request, call) => node.exec(request, call)),
    resizePty: onNode((node, request, call) => node.resizePty(request, call)),
    closeIO: onNode((node, request, call) => node.closeIO(request, call)),
    pause: onNode((node, request, call) => node.pause(request, call)),
    resume: onNode((node, request, call) => node.resume(request, call)),
    listPids: onNode((node, request, call) => node.listPids(request, call)),
    update: onNode((node, request, call) => node.update(request, call)),
    wait: onNode(waitForExit),

    async checkpoint(request, call) {
      return await checkpointTask(deps, await locate(deps, request.containerId, call), request, call)
    },

    async list(request, call) {
      requireNamespace(call)
      const names = await nodesOf(deps, call)
      const lists = await Promise.all(
        names.map(async (name) => {
          try {
            await requireReady(deps, name)
            return (await deps.node(name).list(request, call)).tasks
          } catch (error) {
            if (!hasCode(error, status.UNAVAILABLE)) throw error
            return (await containersOn(deps, name, call)).map(unknownTask)
          }
        }),
      )
      return { tasks: lists.flat().sort((a, b) => Buffer.compare(Buffer.from(a.id), Buffer.from(b.id))) }
    },

    async metrics(request, call) {
      requireNamespace(call)
      // Said here too, for a filter is bad even where no node looks at it.
      parseFilters(request.filters)
      const names = await nodesOf(deps, call)
      const lists = await Promise.all(
        names.map(async (name) => {
          try {
            await requireReady(deps, name)
            return (await deps.node(name).metrics(request, call)).metrics
          } catch (error) {
            if (!hasCode(error, status.UNAVAILABLE)) throw error
            return []
          }
        }),
      )
      return { metrics: lists.flat() }
    },
  }
}

/** What can be said of a container's task when its node does not answer. */
function unknownTask(id: string): Process {
  return ProcessMessage.fromPartial({ id, status: Status.UNKNOWN })
}
