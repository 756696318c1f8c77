import type { BenchImages } from './images.ts'
import { busyTime } from './machine.ts'
import type { Side } from './sides.ts'

/** One line of the results. Its value is a cost: less is better. */
export interface Figure {
  readonly name: string
  readonly unit: 'ms' | 'µs' | 'MB' | '×'
  /** What ours ÷ theirs must not exceed, or with `absolute`, what ours must not exceed in the unit given. */
  readonly target: number
  readonly absolute?: true
}

/** What one run of a case gave for a figure. */
export interface Reading {
  readonly value: number
  /** Processor time of the daemon and its stores, per thing measured, in the unit of the value; where that says something. */
  readonly cpu?: number
  /** The same of all else on the machine: clients, registries, shims, containers. */
  readonly others?: number
}

export type Readings = Readonly<Record<string, Reading>>

/** Something that is done to a freshly started daemon on an empty root, the same to ours and to theirs. */
export interface Case {
  /** What `--only` takes. */
  readonly name: string
  /** Where the daemon's directories are: those that measure durable writes are on disk. */
  readonly storage: 'tmpfs' | 'disk'
  readonly figures: readonly Figure[]
  /** Makes what both sides use, before anything is timed. */
  prepare?(bench: Bench): Promise<void>
  /** Drives one side and gives a reading for each figure; one that is left out does not exist on this side. */
  measure(side: Side, bench: Bench): Promise<Readings>
}

/** What all cases share. */
export interface Bench {
  readonly images: BenchImages
  /** Whether this is only a check that the tool works. */
  readonly quick: boolean
  /** A number of things to do: the second in quick mode. */
  scale(full: number, quick: number): number
}

/** Times what a side is made to do, `times` of it. */
export async function clock(side: Side, work: () => Promise<unknown>, times = 1): Promise<Reading> {
  const [before, busy] = [side.cpu(), busyTime()]
  const start = performance.now()
  await work()
  const value = (performance.now() - start) / times
  const cpu = side.cpu() - before
  return { value, cpu: cpu / times, others: (busyTime() - busy - cpu) / times }
}
