import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Node, NodeStatus } from '@flotilla/api/flotilla/cluster/v1/nodes'
import {
  type NodePrepullDefinition,
  type PrepullDefinition,
  PrepullProgress,
  PrepullProgress_State as State,
} from '@flotilla/api/flotilla/cluster/v1/prepull'
import { type Call, invalidArgument, notFound, requireNamespace, type ServiceOf, toRpcError } from '@flotilla/rpc'

export interface PrepullDeps {
  /** Nodes that have all the labels. */
  readonly nodes: (labelSelectors: readonly string[], call: Call) => Promise<readonly Node[]>
  readonly node: (name: string) => ServiceOf<typeof NodePrepullDefinition>
}

/** Milliseconds between two questions how a node gets on. */
const interval = 500

/** Brings images to many nodes. */
export function createPrepullService(deps: PrepullDeps): ServiceOf<typeof PrepullDefinition> {
  return {
    async *pull(request, call) {
      requireNamespace(call)
      if (request.reference === '') throw invalidArgument('a reference is needed')
      const all = await deps.nodes(request.labelSelectors, call)
      const missing = request.nodes.find((name) => all.every((node) => node.name !== name))
      if (missing !== undefined) throw notFound(`node "${missing}"`)
      const nodes = request.nodes.length === 0 ? all : all.filter(({ name }) => request.nodes.includes(name))
      if (nodes.length === 0) throw notFound('node with these labels')
      const asking = new Map<string, () => Promise<void>>()
      const news = new Map<string, PrepullProgress>()
      const ends = nodes.map((node) => pullOn(node))
      let left = ends.length
      for (const end of ends) end.then(() => left--)
      for (;;) {
        const over = left === 0
        for (const progress of news.values()) yield progress
        news.clear()
        if (over) return
        await Promise.race([sleep(interval, undefined, { signal: call.signal }), Promise.all(ends)])
        await Promise.all([...asking.values()].map((ask) => ask()))
      }

      async function pullOn({ name, status }: Node): Promise<void> {
        const tell = (state: State, more: Partial<PrepullProgress>) =>
          news.set(name, PrepullProgress.fromPartial({ node: name, state, ...more }))
        if (status !== NodeStatus.NODE_STATUS_READY) {
          tell(State.FAILED, { message: `node "${name}" is not ready` })
          return
        }
        const id = randomUUID()
        tell(State.PULLING, {})
        const there = deps.node(name)
        let ended = false
        asking.set(name, async () => {
          try {
            const { done, total } = await there.progress({ id }, call)
            if (!ended) tell(State.PULLING, { done, total })
          } catch {
            // Not begun, or ended: its answer tells.
          }
        })
        try {
          const { total } = await there.pull({ id, pull: request }, call)
          ended = true
          tell(State.DONE, { done: total, total })
        } catch (error) {
          ended = true
          tell(State.FAILED, { message: toRpcError(error).message })
        } finally {
          asking.delete(name)
        }
      }
    },
  }
}
