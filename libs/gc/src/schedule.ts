import { setTimeout as sleep } from 'node:timers/promises'

export interface ScheduleSettings {
  /** Milliseconds from the start to the first run. */
  readonly startupDelay: number
  /** Largest share of time that runs should take, up to 0.5; with 0 runs do not space out what follows. */
  readonly pauseThreshold: number
  /** Deletions that start a run without waiting for the next check; 0: none do. At a check any deletion is enough. */
  readonly deletionThreshold: number
  /** Writes since the last run from which on one is due at a check; 0: they do not matter. */
  readonly mutationThreshold: number
  /** Milliseconds between asking for a run, or too many deletions, and the run. */
  readonly scheduleDelay: number
}

/** What came of one run. */
export interface Outcome<T> {
  /** Milliseconds that count as its length; 0 when there was nothing to do. */
  readonly length: number
  readonly answer: T
  /** Why it failed, as a whole or in part. */
  readonly failure: Error | undefined
}

export interface ScheduleOptions<T> {
  readonly settings: ScheduleSettings
  /** @param asked whether someone waits for it */
  readonly run: (asked: boolean) => Promise<Outcome<T>>
  /**
   * Whether a run is due: at a check, or, between two checks, for more deletions than the threshold or more changes than
   * a collector wants to read at once.
   */
  readonly due: (atCheck: boolean) => Promise<boolean>
}

/** Milliseconds (as containerd's scheduler has them): a run counts as no shorter; check interval without runs. */
const shortestRun = 5
const defaultInterval = 1_000
/** Milliseconds that are added before the next check after a failure. */
const failurePenalty = 1_000
/** Milliseconds between two looks at the number of deletions, when that alone can start a run, and else. */
const [deletionsPoll, changesPoll] = [100, 1_000]
/**
 * Milliseconds that a check is never further off. A run holds up no other call here, as it does in containerd; a few that
 * were slow, since a store was away or the machine busy, shall not keep deleted things on the disk for minutes.
 */
const longestInterval = 10_000
/** Runs whose average length counts. */
const remembered = 8

/** Milliseconds to the next check, so that runs of this average length take no more than their share of the time. */
export function intervalAfter(average: number, pauseThreshold: number): number {
  const share = Math.min(pauseThreshold, 0.5)
  if (share <= 0) return defaultInterval
  return Math.min(Math.max(average, shortestRun) * (1 / share - 1), longestInterval)
}

interface Caller<T> {
  readonly resolve: (answer: T) => void
  readonly reject: (reason: unknown) => void
}

/** Runs something on demand, and by itself when it is due, one at a time. */
export class Schedule<T> {
  readonly #options: ScheduleOptions<T>
  readonly #stop = new AbortController()
  readonly #ended: Promise<void>
  #callers: Caller<T>[] = []
  #wake: (() => void) | undefined
  #lengths: number[] = []
  #nextCheck: number
  /** Whether there was a run, be it only partly successful. */
  #ran = false

  constructor(options: ScheduleOptions<T>) {
    this.#options = options
    this.#nextCheck = performance.now() + options.settings.startupDelay
    this.#ended = this.#loop()
  }

  /** What comes of a run that begins after this call; callers that wait at the same time share it. */
  next(signal: AbortSignal): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const reason = this.#stop.signal.aborted ? this.#stop.signal.reason : signal.aborted ? signal.reason : undefined
    if (reason !== undefined) {
      reject(reason)
      return promise
    }
    const giveUp = () => reject(signal.reason)
    signal.addEventListener('abort', giveUp, { once: true })
    this.#callers.push({ resolve, reject })
    this.#wake?.()
    return promise.finally(() => signal.removeEventListener('abort', giveUp))
  }

  /** Begins no further run, and waits for the one under way, which should know by itself that it is to end. */
  async stop(reason: unknown): Promise<void> {
    this.#stop.abort(reason)
    this.#wake?.()
    await this.#ended
    for (const { reject } of this.#callers) reject(reason)
  }

  async #loop(): Promise<void> {
    for (;;) {
      const why = this.#stop.signal.aborted ? undefined : await this.#sleep()
      if (this.#stop.signal.aborted) return
      if (why === 'asked') {
        await this.#delay()
        await this.#carryOut()
      } else if (why === 'check') {
        const began = performance.now()
        // The first run needs no reason: what went on while nobody collected is unknown.
        if (!this.#ran || (await this.#options.due(true))) await this.#carryOut()
        else this.#planCheck(performance.now() - began)
      } else if (this.#ran && (await this.#options.due(false))) {
        await this.#delay()
        await this.#carryOut()
      }
    }
  }

  async #carryOut(): Promise<void> {
    if (this.#stop.signal.aborted) return
    const callers = this.#callers
    this.#callers = []
    let failed = false
    try {
      const { length, answer, failure } = await this.#options.run(callers.length > 0)
      this.#remember(length)
      this.#ran = true
      failed = failure !== undefined
      for (const { resolve, reject } of callers) {
        if (failure) reject(failure)
        else resolve(answer)
      }
    } catch (error) {
      failed = true
      for (const { reject } of callers) reject(error)
    }
    this.#planCheck(0, failed ? failurePenalty : 0)
  }

  #remember(length: number): void {
    if (length > 0) this.#lengths = [...this.#lengths, length].slice(-remembered)
  }

  /** @param cost milliseconds that the check itself took: it shall not take more than its share either */
  #planCheck(cost: number, penalty = 0): void {
    const average = this.#lengths.reduce((sum, length) => sum + length, 0) / Math.max(1, this.#lengths.length)
    const interval = intervalAfter(Math.max(average, cost), this.#options.settings.pauseThreshold)
    this.#nextCheck = performance.now() + interval + penalty
  }

  /** Waits for the next check, or until something comes before it. */
  async #sleep(): Promise<'check' | 'asked' | 'poll'> {
    if (this.#callers.length > 0) return 'asked'
    const left = Math.max(0, this.#nextCheck - performance.now())
    const poll = this.#options.settings.deletionThreshold > 0 ? deletionsPoll : changesPoll
    const polling = left > poll
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      timer = setTimeout(resolve, polling ? poll : left)
    })
    clearTimeout(timer)
    this.#wake = undefined
    if (this.#callers.length > 0) return 'asked'
    return polling ? 'poll' : 'check'
  }

  async #delay(): Promise<void> {
    const { scheduleDelay } = this.#options.settings
    if (scheduleDelay > 0) await sleep(scheduleDelay, undefined, { signal: this.#stop.signal }).catch(() => {})
  }
}
