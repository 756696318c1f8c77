import { Sandbox } from '@flotilla/api/containerd/types/types'
import { type Metadata, parseStoreName, snapshotTable, tables } from '@flotilla/metadata'
import { type Call, invalidArgument } from '@flotilla/rpc'

/** The label that says on which node a container's task runs. Written when the container is made, never changed. */
export const nodeLabel = 'flotilla.io/node'

/** Metadata by which a gateway, or a caller at the cluster's endpoint, names a node. */
const nodeHeader = 'flotilla-node'

interface Wanted {
  readonly labels: Readonly<Record<string, string>>
  readonly snapshotter: string
  readonly snapshotKey: string
  readonly sandbox: string
}

/** Why the scheduler chose the node; on containers for which nothing else said one. */
export const reasonLabel = 'flotilla.io/placement-reason'

/** A node, and why, for what nothing binds to one. */
export type Schedule = (container: {
  readonly namespace: string
  readonly image: string
  readonly runtime: string
}) => Promise<{ readonly node: string; readonly reason: string }>

/**
 * The labels that say where a new container is: on the node that the call came through or asked for, else the one in its
 * labels, else the one that has its snapshot, else the scheduler's choice, with its reason. None when nothing says.
 */
export async function placementLabels(
  deps: { readonly metadata: Metadata; readonly nodeName?: string; readonly schedule?: Schedule },
  namespace: string,
  container: Wanted & { readonly image: string; readonly runtime?: { readonly name: string } | undefined },
  call: Call,
): Promise<Record<string, string>> {
  // Calls at the cluster's endpoint say so when they leave the choice to us.
  const schedule = call.metadata.get('flotilla-node-by') === 'scheduler' ? deps.schedule : undefined
  const bound = await nodeFor(deps.metadata, namespace, container, call, schedule ? undefined : deps.nodeName)
  if (bound !== undefined) return { [nodeLabel]: bound }
  if (schedule === undefined) return {}
  const wish = { namespace, image: container.image, runtime: container.runtime?.name ?? '' }
  const { node, reason } = await schedule(wish)
  return { [nodeLabel]: node, [reasonLabel]: reason }
}

/**
 * The node for a new container: the one that the call came through or asked for, else the one in its labels, else the
 * one that has its snapshot, else the default. Undefined when nothing says.
 */
async function nodeFor(
  metadata: Metadata,
  namespace: string,
  container: Wanted,
  call: Call,
  fallback: string | undefined,
): Promise<string | undefined> {
  return (
    call.metadata.get(nodeHeader) ||
    container.labels[nodeLabel] ||
    (await nodeOfSandbox(metadata, namespace, container.sandbox)) ||
    (await nodeOfSnapshot(metadata, namespace, container)) ||
    fallback ||
    undefined
  )
}

async function nodeOfSandbox(metadata: Metadata, namespace: string, id: string): Promise<string | undefined> {
  const bytes = id === '' ? undefined : await metadata.get(namespace, tables.sandboxes, id)
  return bytes && Sandbox.decode(bytes).labels[nodeLabel]
}

async function nodeOfSnapshot(metadata: Metadata, namespace: string, container: Wanted): Promise<string | undefined> {
  const { snapshotter, snapshotKey } = container
  if (snapshotKey === '') return undefined
  const stores = await metadata.members(namespace, tables.snapshotStores)
  const nodes = stores
    .map(parseStoreName)
    .filter((store) => store.snapshotter === snapshotter)
    .map(({ node }) => node)
  const records = await Promise.all(
    nodes.map((node) => metadata.get(namespace, snapshotTable(node, snapshotter), snapshotKey)),
  )
  return nodes.find((_, index) => records[index] !== undefined)
}

/**
 * The labels of an update with the node that the container has: leaving it out keeps it, naming another is
 * INVALID_ARGUMENT.
 */
export function keepNode(
  id: string,
  stored: Readonly<Record<string, string>>,
  labels: Record<string, string>,
): Record<string, string> {
  const node = stored[nodeLabel]
  if (node === undefined) return labels
  const wanted = labels[nodeLabel]
  if (wanted !== undefined && wanted !== node)
    throw invalidArgument(`cannot update "labels.${nodeLabel}" field on "${id}": it is on node "${node}"`)
  return { ...labels, [nodeLabel]: node }
}
