import { type Process, Status } from '@flotilla/api/containerd/v1/types/types'
import type { NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { type Call, requireNamespace, type ServiceOf } from '@flotilla/rpc'
import type { Attachments } from './attachments.ts'
import type { Bridges, Stdio } from './bridges.ts'

/** Metadata that says on which node's socket the client is, and so are its FIFOs. */
const socketHeader = 'flotilla-socket-node'

type NodeTasks = ServiceOf<typeof NodeTasksDefinition>

const keyOf = (call: Call, id: string, execId: string) => `${requireNamespace(call)}/${id}/${execId}`
const hasFifo = ({ stderr, stdin, stdout }: Stdio) => [stdin, stdout, stderr].some((path) => path.startsWith('/'))

/** Whether a client may want its streams. */
const mayAttach = ({ status, stdout }: Process) => stdout.startsWith('/') && status === Status.RUNNING

/** The tasks of a node, whose streams reach clients on other nodes too. */
export function bridgedTasks(
  tasks: NodeTasks,
  bridges: Bridges,
  attachments: Attachments,
  nodeName: string,
): NodeTasks {
  /** The node of a caller elsewhere. */
  function elsewhere(call: Call): string | undefined {
    const node = call.metadata.get(socketHeader)
    return node === undefined || node === nodeName ? undefined : node
  }

  /** A client sees the FIFOs that it made. */
  function forCaller(process: Process | undefined, key: string, call: Call): Process | undefined {
    const bridge = bridges.get(key)
    if (process === undefined || bridge === undefined || bridge.clientNode !== elsewhere(call)) return process
    const { stderr, stdin, stdout } = bridge.client
    return { ...process, stdin, stdout, stderr }
  }

  return {
    ...tasks,
    async create(command, call) {
      const { request } = command
      const client = elsewhere(call)
      if (client === undefined || request === undefined || !hasFifo(request)) return await tasks.create(command, call)
      const bridge = await bridges.open(keyOf(call, request.containerId, ''), client, request)
      try {
        const answer = await tasks.create({ ...command, request: { ...request, ...bridge.stdio } }, call)
        bridge.started()
        return answer
      } catch (error) {
        await bridge.drop()
        throw error
      }
    },

    async exec(request, call) {
      const client = elsewhere(call)
      if (client === undefined || !hasFifo(request)) return await tasks.exec(request, call)
      const bridge = await bridges.open(keyOf(call, request.containerId, request.execId), client, request)
      try {
        return await tasks.exec({ ...request, ...bridge.stdio }, call)
      } catch (error) {
        await bridge.drop()
        throw error
      }
    },

    async start(request, call) {
      const answer = await tasks.start(request, call)
      // The shim opens the streams of an additional process when it starts it.
      bridges.get(keyOf(call, request.containerId, request.execId))?.started()
      return answer
    },

    async closeIO(request, call) {
      const answer = await tasks.closeIO(request, call)
      const key = keyOf(call, request.containerId, request.execId)
      if (request.stdin) {
        bridges.get(key)?.closeStdin()
        attachments.closeStdin(key)
      }
      return answer
    },

    async get(request, call) {
      const { process } = await tasks.get(request, call)
      const key = keyOf(call, request.containerId, request.execId)
      const client = elsewhere(call)
      const bridge = bridges.get(key)
      if (process === undefined || client === undefined || bridge?.clientNode === client || !mayAttach(process))
        return { process: forCaller(process, key, call) }
      try {
        return { process: await attachments.open(key, client, process, bridge) }
      } catch {
        // A client's node that cannot make FIFOs can still be told of the process.
        return { process }
      }
    },

    async list(request, call) {
      const listed = await tasks.list(request, call)
      return { tasks: listed.tasks.map((process) => forCaller(process, keyOf(call, process.id, ''), call) ?? process) }
    },
  }
}
