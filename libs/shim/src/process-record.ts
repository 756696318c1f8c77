import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '@flotilla/linux'
import type { Bundle } from './bundle.ts'
import type { Exit } from './exit.ts'

/** A line of the record: what happened to one process of a task. `execId` is empty for the first process. */
type Line =
  /** Asked for, or made: the first process has a pid from here, others when they start. */
  | { readonly type: 'made' | 'started'; readonly execId: string; readonly pid: number }
  | { readonly type: 'exited'; readonly execId: string; readonly exit: Exit }
  | { readonly type: 'removed'; readonly execId: string }

/** One process of a task, as far as its shim and its record tell. */
export class TaskProcess {
  /** 0 before it starts. */
  pid: number
  readonly exited: Promise<Exit>
  #exit: Exit | undefined
  readonly #tell: (exit: Exit) => void

  constructor(pid: number) {
    this.pid = pid
    const { promise, resolve } = Promise.withResolvers<Exit>()
    this.exited = promise
    this.#tell = resolve
  }

  get exit(): Exit | undefined {
    return this.#exit
  }

  /** Says how it ended; what was said first counts. */
  end(exit: Exit): void {
    if (this.#exit) return
    this.#exit = exit
    this.#tell(exit)
  }
}

/** Lines after which a record is written anew, when few of them still matter. */
const compactAfter = 1_000

/**
 * The processes of one task, on disk in its bundle, so that the next life of this program knows which it has to ask
 * the shim about. Not flushed: no process outlives the machine.
 */
export class ProcessRecord {
  readonly processes = new Map<string, TaskProcess>()
  readonly #path: string
  #lines = 0

  private constructor(path: string) {
    this.#path = path
  }

  /** Reads the record of a bundle; empty when there is none. A line cut short by a crash is dropped. */
  static load(bundle: Bundle): ProcessRecord {
    const record = new ProcessRecord(join(bundle.path, 'processes'))
    let text = ''
    try {
      text = readFileSync(record.#path, 'utf8')
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error
    }
    const whole = text.split('\n').slice(0, -1)
    for (const line of whole) record.#apply(JSON.parse(line) as Line)
    if (text !== '') record.#compact()
    return record
  }

  /** The first process; undefined until the shim has made it. */
  get init(): TaskProcess | undefined {
    return this.processes.get('')
  }

  made(execId: string, pid = 0): void {
    this.#add({ type: 'made', execId, pid })
  }

  started(execId: string, pid: number): void {
    this.#add({ type: 'started', execId, pid })
  }

  exited(execId: string, exit: Exit): void {
    this.#add({ type: 'exited', execId, exit })
  }

  removed(execId: string): void {
    this.#add({ type: 'removed', execId })
  }

  #apply(line: Line): void {
    this.#lines++
    const process = this.processes.get(line.execId)
    if (line.type === 'removed') this.processes.delete(line.execId)
    else if (line.type === 'exited') process?.end(line.exit)
    else if (process) process.pid = line.pid
    else this.processes.set(line.execId, new TaskProcess(line.pid))
  }

  #add(line: Line): void {
    appendFileSync(this.#path, `${JSON.stringify(line)}\n`, { mode: 0o600 })
    this.#apply(line)
    if (this.#lines > compactAfter && this.#lines > 8 * this.processes.size) this.#compact()
  }

  #compact(): void {
    const lines: Line[] = []
    for (const [execId, { exit, pid }] of this.processes) {
      lines.push({ type: 'made', execId, pid })
      if (exit) lines.push({ type: 'exited', execId, exit })
    }
    writeFileSync(`${this.#path}.new`, lines.map((line) => `${JSON.stringify(line)}\n`).join(''), { mode: 0o600 })
    renameSync(`${this.#path}.new`, this.#path)
    this.#lines = lines.length
  }
}
