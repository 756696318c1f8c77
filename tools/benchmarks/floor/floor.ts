import { busyTime } from '../machine.ts'
import { median } from '../statistics.ts'

/** The least that a part of a case can take, whoever does it. */
export interface Floor {
  readonly name: string
  readonly unit: 'ms' | 'µs'
  readonly clock: number
  /** Processor time: of servers without their callers, else of everything on the machine meanwhile. */
  readonly processor: number
}

/** How much is done for a figure. */
export interface Effort {
  /** How often, after a first time that does not count. */
  readonly repeats: number
  /** The part of the full size, up to 1. */
  readonly share: number
}

/** Medians of the time that something takes, in milliseconds for each of the `times` that it is done at once. */
export async function floorOf(
  name: string,
  { repeats }: Effort,
  work: () => unknown,
  { times = 1, before = () => {} }: { times?: number; before?: () => unknown } = {},
): Promise<Floor> {
  const [clocks, processors]: [number[], number[]] = [[], []]
  for (let round = 0; round <= repeats; round++) {
    await before()
    const [busy, from] = [busyTime(), performance.now()]
    await work()
    if (round === 0) continue
    clocks.push((performance.now() - from) / times)
    processors.push((busyTime() - busy) / times)
  }
  return { name, unit: 'ms', clock: median(clocks), processor: median(processors) }
}
