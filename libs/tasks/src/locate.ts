import type { Container } from '@flotilla/api/containerd/services/containers/v1/containers'
import { type Call, notFound, requireNamespace, unavailable } from '@flotilla/rpc'
import type { NodeTasksClient, TasksDeps } from './deps.ts'

/** The label that says which node a container is on. */
const nodeLabel = 'flotilla.io/node'

/** Metadata by which a node's socket, or a caller at the cluster's endpoint, names a node. */
const nodeHeader = 'flotilla-node'

/** Says `socket` when it was not the caller who named the node, but the socket that the call came through. */
const namedByHeader = 'flotilla-node-by'

/** A container and the node that runs its task. */
export interface Located {
  readonly container: Container
  readonly node: NodeTasksClient
  readonly nodeName: string
}

/** Finds the container of a task. NOT_FOUND as the containers service words it, also when its node was removed. */
export async function locate(deps: TasksDeps, id: string, call: Call): Promise<Located> {
  requireNamespace(call)
  const { container } = await deps.containers.get({ id }, call)
  if (!container) throw notFound(`container "${id}"`)
  const nodeName = container.labels[nodeLabel] ?? deps.localNode
  if (await isAway(deps, nodeName)) {
    if ((await deps.nodes()).includes(nodeName)) throw away(nodeName)
    throw notFound(`task ${id}: node "${nodeName}", which had it, was removed from the cluster`)
  }
  return { container, node: deps.node(nodeName), nodeName }
}

/** UNAVAILABLE, naming it, for a node that is known not to answer. */
export async function requireReady(deps: TasksDeps, node: string): Promise<void> {
  if (await isAway(deps, node)) throw away(node)
}

async function isAway({ isReady, localNode }: TasksDeps, node: string): Promise<boolean> {
  return node !== localNode && isReady !== undefined && !(await isReady(node))
}

const away = (node: string) => unavailable(`node "${node}" is not ready`)

/** The nodes that a call over many tasks is about: all, unless the caller itself names one. */
export async function nodesOf(deps: TasksDeps, call: Call): Promise<string[]> {
  const named = call.metadata.get(nodeHeader)
  if (named && call.metadata.get(namedByHeader) !== 'socket') return [named]
  const names = await deps.nodes()
  return names.length > 0 ? names : [deps.localNode]
}

/** Ids of the containers that are on a node. */
export async function containersOn(deps: TasksDeps, node: string, call: Call): Promise<string[]> {
  const filters = [`labels."${nodeLabel}"==${JSON.stringify(node)}`]
  const { containers } = await deps.containers.list({ filters }, call)
  return containers.map((container) => container.id)
}
