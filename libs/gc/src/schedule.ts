export interface ScheduleSettings {
  /** Milliseconds from the start to the first run. */
  readonly startupDelay: number
  /** Largest share of time that runs should take. */
  readonly pauseThreshold: number
  /** Deletions since the last run beyond which one is due; 0: any. */
  readonly deletionThreshold: number
  /** Writes since the last run from which on one is due. */
  readonly mutationThreshold: number
  /** Milliseconds between finding that a run is due and the run. */
  readonly scheduleDelay: number
}

export interface ScheduleOptions<T> {
  readonly settings: ScheduleSettings
  run(): Promise<T>
  due(): Promise<boolean>
}

export interface Schedule<T> {
  /** What comes of a run that begins after this call; callers that wait at the same time share it. */
  next(signal: AbortSignal): Promise<T>
  /** Begins no further run; waits for the one under way; callers that wait get `reason`. */
  stop(reason: unknown): Promise<void>
}

/** Shortest run that pauses are reckoned from, milliseconds (containerd's gc scheduler): 245 ms between checks at 0.02. */
const shortestRun = 5

/** Decides when to run: on demand, and by itself so seldom that runs take no more than their share of the time. */
export function createSchedule<T>({ settings, run, due }: ScheduleOptions<T>): Schedule<T> {
  let waiting: Array<{ resolve: (answer: T) => void; reject: (reason: unknown) => void }> = []
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let stopped = false
  let spent = 0
  let runs = 0

  const pause = () => {
    const average = Math.max(runs === 0 ? 0 : spent / runs, shortestRun)
    return average * (1 / Math.max(settings.pauseThreshold, 0.001) - 1)
  }

  const plan = (ms: number, then: () => Promise<void>) => {
    clearTimeout(timer)
    if (!stopped) timer = setTimeout(() => void then(), ms)
  }

  async function carryOut(): Promise<void> {
    if (running) return
    const callers = waiting
    waiting = []
    const started = performance.now()
    running = run().then(
      (answer) => {
        for (const { resolve } of callers) resolve(answer)
      },
      (error: unknown) => {
        for (const { reject } of callers) reject(error)
      },
    )
    await running
    running = undefined
    spent += performance.now() - started
    runs += 1
    if (waiting.length > 0) plan(0, carryOut)
    else plan(pause(), check)
  }

  async function check(): Promise<void> {
    const wanted = await due()
    if (running || stopped) return
    if (wanted || waiting.length > 0) plan(settings.scheduleDelay, carryOut)
    else plan(pause(), check)
  }

  plan(settings.startupDelay, carryOut)

  return {
    next(signal) {
      return new Promise<T>((resolve, reject) => {
        if (stopped) return reject(new Error('the collector has stopped'))
        if (signal.aborted) return reject(signal.reason)
        const onAbort = () => reject(signal.reason)
        signal.addEventListener('abort', onAbort, { once: true })
        const done = () => signal.removeEventListener('abort', onAbort)
        waiting.push({
          resolve: (answer) => {
            done()
            resolve(answer)
          },
          reject: (reason) => {
            done()
            reject(reason)
          },
        })
        // One that is under way began before this call; its end starts the next.
        if (!running) plan(0, carryOut)
      })
    },
    async stop(reason) {
      stopped = true
      clearTimeout(timer)
      for (const { reject } of waiting) reject(reason)
      waiting = []
      await running
    },
  }
}
