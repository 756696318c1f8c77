import type { Node, NodesDefinition } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { expelNode, type Metadata, removeNode, setCordoned } from '@flotilla/metadata'
import { failedPrecondition, invalidArgument, notFound, type ServiceOf } from '@flotilla/rpc'
import { type DrainDeps, drain } from './drain.ts'
import { forgetDisk } from './forget-disk.ts'
import type { Presence } from './presence.ts'

export interface NodesDeps extends Omit<DrainDeps, 'metadata'> {
  readonly metadata: Metadata
  readonly presence: Presence
}

/** Milliseconds between two looks of a watcher, since cordons and removals are not announced over the bus. */
const lookEvery = 1_000

/** What operators see and do with the machines of the cluster. */
export function createNodesService(deps: NodesDeps): ServiceOf<NodesDefinition> {
  const { metadata, presence } = deps

  async function get(name: string): Promise<Node> {
    if (name === '') throw invalidArgument('node name must not be empty')
    const node = (await presence.nodes()).find((one) => one.name === name)
    if (node === undefined) throw notFound(`node "${name}"`)
    return node
  }

  async function cordon(name: string, cordoned: boolean): Promise<Node> {
    await get(name)
    await setCordoned(metadata, name, cordoned)
    return await get(name)
  }

  const selected = async (selectors: readonly string[]) => {
    const tests = selectors.map(selectorOf)
    return (await presence.nodes()).filter((node) => tests.every((test) => test(node)))
  }

  return {
    async list({ labelSelectors }) {
      return { nodes: await selected(labelSelectors) }
    },

    get: ({ name }) => get(name),

    async *watch({ labelSelectors }, call) {
      const told = new Map<string, string>()
      while (!call.signal.aborted) {
        const nodes = await selected(labelSelectors)
        const names = new Set(nodes.map((node) => node.name))
        for (const node of nodes) {
          const { seenAt: _, ...lasting } = node
          const text = JSON.stringify(lasting)
          if (told.get(node.name) === text) continue
          told.set(node.name, text)
          yield { node, removed: false }
        }
        for (const name of told.keys()) {
          if (names.has(name)) continue
          told.delete(name)
          yield { node: emptyNode(name), removed: true }
        }
        await presence.changed(AbortSignal.any([call.signal, AbortSignal.timeout(lookEvery)]))
      }
    },

    cordon: ({ name }) => cordon(name, true),
    uncordon: ({ name }) => cordon(name, false),

    async *drain({ gracePeriod, name }, call) {
      const node = await cordon(name, true)
      if (!(await presence.isReady(node.name))) throw failedPrecondition(`node "${name}" is not ready`)
      const grace = gracePeriod === undefined ? 10_000 : gracePeriod.seconds * 1_000 + gracePeriod.nanos / 1e6
      yield* drain(deps, name, grace, call)
    },

    async remove({ name }) {
      await get(name)
      if (await presence.isReady(name)) throw failedPrecondition(`node "${name}" is ready`)
      // A machine that comes back in between does not become a node again with half its records.
      await expelNode(metadata, name)
      await forgetDisk(metadata, name)
      await removeNode(metadata, name)
      return {}
    },
  }
}

function emptyNode(name: string): Node {
  return {
    name,
    status: 0,
    statusSince: undefined,
    cordoned: false,
    labels: {},
    advertise: '',
    version: '',
    kernel: '',
    platform: undefined,
    capacity: undefined,
    load: undefined,
    snapshotters: [],
    runtimes: [],
    startedAt: undefined,
    seenAt: undefined,
  }
}

function selectorOf(text: string): (node: Node) => boolean {
  const [key = '', ...rest] = text.split('=')
  if (key === '') throw invalidArgument(`label selector "${text}" has no key`)
  if (rest.length === 0) return (node) => key in node.labels
  return (node) => node.labels[key] === rest.join('=')
}
