import type { Metadata } from '@flotilla/metadata'
import { Graph } from './graph.ts'
import { Pace } from './pace.ts'
import { Run } from './run.ts'
import { Survey } from './survey.ts'
import { type Removed, Sweep } from './sweep.ts'

/** What came of collecting one namespace. */
export interface Collected {
  readonly removed: Removed
  /** Every driver id that a record named at any time of the run, by `NODE/SNAPSHOTTER`; of a run with a memory, some. */
  readonly driverIds: ReadonlyMap<string, ReadonlySet<string>>
  /** Snapshots that were kept although unreached: their count of children contradicts the records. */
  readonly odd: readonly string[]
  /** Whether others wrote so much that it had to be told which writes matter. */
  readonly fenced: boolean
  /** The count of mutations that stands for what was collected: while it is this, there is nothing new. */
  readonly mutations: number
  /** Milliseconds since the epoch from when on there may be garbage although nothing was written. */
  readonly nextExpiry: number
  /** What the next run may begin with, in place of reading everything. */
  readonly memory: Memory | undefined
}

/** The records of a namespace as a run left them. It serves one more run, which takes it over, and no other. */
export interface Memory {
  readonly graph: Graph
  /** What Redis knows it by: while it does, it notes all that changes. */
  readonly mark: string
}

/** Objects of a namespace, at most, that are remembered: 35 MB of heap for 100,000, measured. */
const mostRemembered = 200_000

export interface CollectOptions {
  /** What the run before left; without it everything is read. */
  readonly memory?: Memory | undefined
  /** How a test takes part in a run, between marking and sweeping. */
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
  { memory, marked }: CollectOptions = {},
): Promise<Collected | undefined> {
  await using run = await Run.begin(metadata, namespace)
  if (run === undefined) return undefined
  const pace = new Pace(signal)
  const {
    graph,
    survey,
    mark: read,
  } = (memory && (await surveyChanges(run, memory, pace))) ?? (await surveyAll(run, pace))
  await survey.catchUp()
  await marked?.()
  const sweep = new Sweep(run, graph, survey, pace)
  await sweep.removeAll()
  const { mutations, mark } = await run.succeed(survey.floating, read)
  return {
    removed: sweep.removed,
    driverIds: survey.driverIds,
    odd: sweep.odd.map(({ type, field }) => `${type} ${field}`),
    fenced: sweep.fenced,
    mutations,
    nextExpiry: graph.nextExpiry,
    memory: mark !== undefined && graph.size <= mostRemembered ? { graph, mark } : undefined,
  }
}

/** Undefined when the memory is of no use any more. */
async function surveyChanges(run: Run, { graph, mark }: Memory, pace: Pace) {
  const survey = new Survey(run, graph, pace)
  return (await survey.readChanged(mark, Date.now())) ? { graph, survey, mark } : undefined
}

async function surveyAll(run: Run, pace: Pace) {
  const mark = await run.remember()
  const graph = new Graph(Date.now())
  const survey = new Survey(run, graph, pace)
  await survey.readAll()
  return { graph, survey, mark }
}
