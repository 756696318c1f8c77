import { setImmediate as nextTurn } from 'node:timers/promises'

/** Milliseconds that things took. */
export class Latencies {
  readonly #values: number[] = []

  add(ms: number): void {
    this.#values.push(ms)
  }

  at(share: number): number {
    const sorted = this.#values.toSorted((a, b) => a - b)
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  }

  toString(): string {
    const [median, tail, worst] = [0.5, 0.99, 1].map((share) => this.at(share).toFixed(1))
    return `median ${median} ms, 99 % ${tail} ms, worst ${worst} ms (${this.#values.length} times)`
  }
}

/** Measures, again and again until told to stop, how long something takes. */
export async function measure(what: () => Promise<unknown>, stopped: () => boolean): Promise<Latencies> {
  const latencies = new Latencies()
  while (!stopped()) {
    const began = performance.now()
    await what()
    latencies.add(performance.now() - began)
    await nextTurn()
  }
  return latencies
}

/**
 * Measures how much this thread computes in one turn, before the next can begin. It is the processor's time that counts,
 * so that other work on the machine does not.
 */
export async function measureTurns(during: () => Promise<unknown>): Promise<Latencies> {
  let over = false
  const computed = () => {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1_000
  }
  const turns = (async () => {
    const latencies = new Latencies()
    for (let before = computed(); !over; ) {
      await nextTurn()
      const after = computed()
      latencies.add(after - before)
      before = after
    }
    return latencies
  })()
  await during()
  over = true
  return await turns
}
