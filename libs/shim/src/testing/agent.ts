// A node's tasks as a process of their own, to be killed: serves NodeTasks on one socket, sends events to another.
// Its only argument is AgentOptions as JSON; it prints a line when it is ready.
import { EventsDefinition } from '@flotilla/api/containerd/services/events/v1/events'
import { NodeTasksDefinition } from '@flotilla/api/flotilla/node/v1/node'
import { createLogger } from '@flotilla/log'
import { clientOf, connect, createRpcServer } from '@flotilla/rpc'
import type { NodeTasksDeps } from '../deps.ts'
import { createNodeTasks } from '../node-tasks.ts'

export interface AgentOptions {
  readonly deps: Omit<NodeTasksDeps, 'events' | 'logger'>
  readonly eventsSocket: string
  readonly socket: string
}

const { deps, eventsSocket, socket } = JSON.parse(process.argv[2] ?? '') as AgentOptions
const tasks = await createNodeTasks({
  ...deps,
  events: clientOf(EventsDefinition, connect(`unix://${eventsSocket}`)),
  logger: createLogger({ level: process.env.FLOTILLA_TEST_LOG ?? 'fatal', name: 'agent' }),
})
const server = createRpcServer()
server.add(NodeTasksDefinition, tasks)
await server.listen(`unix://${socket}`)
process.stdout.write('ready\n')
