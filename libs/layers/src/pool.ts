import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { ApplyRequest, ApplyResult } from './apply/apply-layer.ts'
import type { CompareRequest } from './compare/compare-trees.ts'
import type { CompareResult } from './compare/layer-output.ts'
import type { FromWorker, Job, JobResult, ToWorker } from './messages.ts'

export interface LayerPoolOptions {
  /** Jobs at a time; as many as processors, but two to four, unless given. Threads are started when first needed. */
  readonly workers?: number
  /** The worker's code where it is not beside this file, as in a bundle. */
  readonly workerUrl?: URL
  /** MiB of JavaScript memory that one job may use before it fails; 1024 unless given. */
  readonly memoryLimit?: number
  /**
   * Milliseconds that a cancelled job has to stop before its thread is ended, and its thread to end before it is left
   * alone; 5000 unless given. Only a pipe whose writer is silent needs the second: end its writer.
   */
  readonly cancelGrace?: number
}

export type WithSignal<T> = T & { readonly signal?: AbortSignal }

/**
 * Threads that unpack and compare layers. Jobs beyond the number of threads wait their turn. A failure is a LayerError;
 * an aborted job throws the signal's reason, after it has stopped touching the target. Disposal aborts what runs.
 */
export interface LayerPool extends AsyncDisposable {
  /** Unpacks a layer; see `applyLayer`. */
  apply(request: WithSignal<ApplyRequest>): Promise<ApplyResult>
  /** Writes the layer between two trees; see `compareTrees`. */
  compare(request: WithSignal<CompareRequest>): Promise<CompareResult | undefined>
}

/** A job that failed; `code` is an errno name or a zlib code where there is one. */
export class LayerError extends Error {
  readonly code: string | undefined

  constructor(message: string, code?: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'LayerError'
    this.code = code
  }
}

interface Task {
  readonly id: number
  readonly job: Job
  readonly signal: AbortSignal
  readonly resolve: (result: JobResult) => void
  readonly reject: (error: unknown) => void
}

export function createLayerPool(options: LayerPoolOptions = {}): LayerPool {
  return new ThreadPool(options)
}

class ThreadPool implements LayerPool {
  readonly #limit: number
  readonly #options: LayerPoolOptions
  readonly #idle: Worker[] = []
  readonly #waiting: Task[] = []
  readonly #busy = new Set<Promise<void>>()
  readonly #closing = new AbortController()
  #lastId = 0

  constructor(options: LayerPoolOptions) {
    this.#options = options
    this.#limit = options.workers ?? Math.min(4, Math.max(2, availableParallelism()))
  }

  async apply({ signal, ...request }: WithSignal<ApplyRequest>): Promise<ApplyResult> {
    return (await this.#run({ kind: 'apply', ...request }, signal)) as ApplyResult
  }

  async compare({ signal, ...request }: WithSignal<CompareRequest>): Promise<CompareResult | undefined> {
    return (await this.#run({ kind: 'compare', ...request }, signal)) as CompareResult | undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new LayerError('layer pool is closed'))
    for (const task of this.#waiting.splice(0)) task.reject(this.#closing.signal.reason)
    await Promise.allSettled(this.#busy)
    await Promise.all(this.#idle.splice(0).map((worker) => worker.terminate()))
  }

  #run(job: Job, signal: AbortSignal | undefined): Promise<JobResult> {
    const both = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal])
    if (both.aborted) return Promise.reject(both.reason)
    const { promise, resolve, reject } = Promise.withResolvers<JobResult>()
    const task: Task = { id: ++this.#lastId, job, signal: both, resolve, reject }
    this.#waiting.push(task)
    const leave = () => {
      const place = this.#waiting.indexOf(task)
      if (place < 0) return
      this.#waiting.splice(place, 1)
      reject(both.reason)
    }
    both.addEventListener('abort', leave, { once: true })
    this.#startNext()
    // A signal with listeners is kept by those that it follows, for as long as they live.
    return promise.finally(() => both.removeEventListener('abort', leave))
  }

  #startNext(): void {
    while (this.#busy.size < this.#limit) {
      const task = this.#waiting.shift()
      if (task === undefined) return
      const work = this.#work(task).finally(() => {
        this.#busy.delete(work)
        this.#startNext()
      })
      this.#busy.add(work)
    }
  }

  async #work(task: Task): Promise<void> {
    const worker = this.#idle.pop() ?? this.#start()
    worker.ref()
    try {
      const { answer, alive } = await converse(worker, task, this.#options.cancelGrace ?? 5000)
      if (alive) {
        worker.unref()
        this.#idle.push(worker)
      }
      if (task.signal.aborted) task.reject(task.signal.reason)
      else if (answer.kind === 'done') task.resolve(answer.result)
      else task.reject(new LayerError(answer.message, answer.code))
    } catch (error) {
      task.reject(error)
    }
  }

  #start(): Worker {
    const worker = new Worker(this.#options.workerUrl ?? new URL('./worker.ts', import.meta.url), {
      // The parent's flags (loaders of a test runner, inspectors) are not the worker's business.
      execArgv: [],
      name: 'layers',
      // Descriptors are opened by system calls of our own, of which Node's bookkeeping knows nothing.
      trackUnmanagedFds: false,
      resourceLimits: { maxOldGenerationSizeMb: this.#options.memoryLimit ?? 1024 },
    })
    // An idle worker that dies is not used again; one at work fails its task.
    worker.on('error', () => {})
    worker.on('exit', () => {
      const place = this.#idle.indexOf(worker)
      if (place >= 0) this.#idle.splice(place, 1)
    })
    return worker
  }
}

interface Outcome {
  readonly answer: FromWorker
  /** Whether the thread can take another task. */
  readonly alive: boolean
}

/** Hands a task to a thread and waits for its answer or its end. */
function converse(worker: Worker, task: Task, cancelGrace: number): Promise<Outcome> {
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined
    let crash: unknown
    const cancel = () => {
      worker.postMessage({ kind: 'cancel', id: task.id } satisfies ToWorker)
      timer = setTimeout(() => {
        void worker.terminate()
        // A thread that waits for a silent pipe ends only with the pipe.
        timer = setTimeout(() => settle({ answer: failure('it does not end'), alive: false }), cancelGrace)
      }, cancelGrace)
    }
    const failure = (reason: string): FromWorker => {
      return { id: task.id, kind: 'failed', message: `layer worker ended: ${reason}`, code: undefined }
    }
    const settle = (outcome: Outcome) => {
      clearTimeout(timer)
      task.signal.removeEventListener('abort', cancel)
      worker.off('message', onMessage)
      worker.off('error', onError)
      worker.off('exit', onExit)
      resolve(outcome)
    }
    const onMessage = (answer: FromWorker) => {
      if (answer.id === task.id) settle({ answer, alive: true })
    }
    const onError = (error: unknown) => {
      crash = error
    }
    const onExit = () => {
      settle({ answer: failure(crash instanceof Error ? crash.message : 'it was stopped'), alive: false })
    }
    worker.on('message', onMessage)
    worker.on('error', onError)
    worker.on('exit', onExit)
    task.signal.addEventListener('abort', cancel, { once: true })
    worker.postMessage({ kind: 'run', id: task.id, job: task.job } satisfies ToWorker)
    if (task.signal.aborted) cancel()
  })
}
