import { type Node, NodeStatus } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { unavailable } from '@flotilla/rpc'
import type { Presence } from './presence.ts'

/** What is to be placed. */
export interface Wish {
  /** Nodes that have what it builds on, with a weight (1, or bytes); the heavier the better. */
  readonly near?: ReadonlyMap<string, number>
  /** Said of the chosen one when it is near: `has the parent snapshot`. */
  readonly nearReason?: string
  /** Only these nodes. */
  readonly only?: ReadonlySet<string>
  /** Only nodes with this snapshot driver. */
  readonly snapshotter?: string | undefined
  /** Only nodes with a shim of this runtime. */
  readonly runtime?: string | undefined
}

export interface Placed {
  readonly node: string
  /** Why this one, in a few words. */
  readonly reason: string
}

export type Scheduler = (wish: Wish) => Promise<Placed>

/** Milliseconds for which a choice counts as load that the node does not yet tell of. */
const freshFor = 5_000

/**
 * Chooses among ready nodes that are not cordoned and can do what is wished: those that are nearest first, among equals
 * the one with the smallest reserved share of processors and memory.
 */
export function createScheduler(presence: Pick<Presence, 'nodes'>): Scheduler {
  const fresh: Array<{ readonly node: string; readonly at: number }> = []

  return async ({ near, nearReason, only, runtime, snapshotter }) => {
    const all = await presence.nodes()
    const able = all.filter(
      (node) =>
        node.status === NodeStatus.NODE_STATUS_READY &&
        !node.cordoned &&
        (only === undefined || only.has(node.name)) &&
        (!snapshotter || node.snapshotters.includes(snapshotter)) &&
        (!runtime || node.runtimes.length === 0 || runtime.startsWith('/') || node.runtimes.includes(runtime)),
    )
    if (able.length === 0)
      throw unavailable(
        only === undefined
          ? `none of ${all.length} nodes can take it`
          : `it belongs on node ${[...only].map((name) => JSON.stringify(name)).join(' or ')}, which cannot take it now`,
      )
    while (fresh[0] !== undefined && performance.now() - fresh[0].at > freshFor) fresh.shift()
    const most = Math.max(0, ...able.map(({ name }) => near?.get(name) ?? 0))
    const nearest = most > 0 ? able.filter(({ name }) => near?.get(name) === most) : able
    const loaded = nearest
      .map((node) => ({ node, load: loadOf(node) + 0.01 * fresh.filter((choice) => choice.node === node.name).length }))
      .sort((a, b) => a.load - b.load || a.node.name.localeCompare(b.node.name))
    const chosen = loaded[0]?.node.name ?? ''
    fresh.push({ node: chosen, at: performance.now() })
    const because = [
      ...(most > 0 && nearReason ? [nearReason] : []),
      able.length === 1
        ? 'the only node that can take it'
        : nearest.length > 1
          ? `least loaded of ${nearest.length}`
          : `nearest of ${able.length}`,
    ]
    return { node: chosen, reason: because.join('; ') }
  }
}

/** The larger of the reserved shares, and a little for each task so that those that reserve nothing count too. */
function loadOf({ capacity, load }: Node): number {
  const cpu = (load?.reservedCpuMillis ?? 0) / (1_000 * Math.max(1, capacity?.cpus ?? 1))
  const memory = (load?.reservedMemory ?? 0) / Math.max(1, capacity?.memory ?? 1)
  return Math.max(cpu, memory) + 0.01 * (load?.tasks ?? 0)
}
