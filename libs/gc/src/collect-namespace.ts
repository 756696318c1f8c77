import type { Metadata } from '@flotilla/metadata'
import { Graph } from './graph.ts'
import { Pace } from './pace.ts'
import { Run } from './run.ts'
import { Survey } from './survey.ts'
import { type Removed, Sweep } from './sweep.ts'

/** What came of collecting one namespace. */
export interface Collected {
  readonly removed: Removed
  /** Every driver id that a record named at any time of the run, by `NODE/SNAPSHOTTER`. */
  readonly driverIds: ReadonlyMap<string, ReadonlySet<string>>
  /** Snapshots that were kept although unreached: their count of children contradicts the records. */
  readonly odd: readonly string[]
  /** Whether others wrote so much that it had to be told which writes matter. */
  readonly fenced: boolean
  /** The count of mutations that stands for what was collected: while it is this, there is nothing new. */
  readonly mutations: number
  /** Milliseconds since the epoch from when on there may be garbage although nothing was written. */
  readonly nextExpiry: number
}

/** How a test takes part in a run, between marking and sweeping. */
export interface Hooks {
  readonly marked?: () => Promise<void>
}

/**
 * Collects one namespace: removes the records that nothing keeps. Others write meanwhile as they like. What the records
 * stood for on disk is noted as trash, not removed.
 *
 * @returns undefined when another process collects this namespace
 * @throws RunLost; and UNAVAILABLE when the store is away. Everything removed until then was garbage.
 */
export async function collectNamespace(
  metadata: Metadata,
  namespace: string,
  signal: AbortSignal,
  hooks: Hooks = {},
): Promise<Collected | undefined> {
  await using run = await Run.begin(metadata, namespace)
  if (run === undefined) return undefined
  const pace = new Pace(signal)
  const now = Date.now()
  const graph = new Graph(now)
  const survey = new Survey(run, graph, pace, now)
  await survey.readAll()
  await survey.catchUp()
  await hooks.marked?.()
  const sweep = new Sweep(run, graph, survey, pace, now)
  await sweep.removeAll()
  const mutations = await run.succeed(survey.floating)
  return {
    removed: sweep.removed,
    driverIds: survey.driverIds,
    odd: sweep.odd.map(({ type, field }) => `${type} ${field}`),
    fenced: sweep.fenced,
    mutations,
    nextExpiry: graph.nextExpiry,
  }
}
