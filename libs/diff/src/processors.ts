import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Any } from '@flotilla/api/google/protobuf/any'
import { pipe } from '@flotilla/linux'
import { unknown } from '@flotilla/rpc'
import { type Treatment, treatmentOf } from './media-types.ts'

/** An external program that turns a stream of one media type into one of another: blob on stdin, result on stdout. */
export interface StreamProcessor {
  /** Name under which a request carries its payload. */
  readonly id: string
  /** Media types that it takes. */
  readonly accepts: readonly string[]
  /** Media type of what it writes. */
  readonly returns: string
  /** The program. */
  readonly path: string
  readonly args: readonly string[]
  /** `NAME=VALUE`, added to this process's environment. */
  readonly env: readonly string[]
}

/** Programs to run one behind the other, and how the last one's output is read. */
export interface ProcessorChain {
  readonly steps: ReadonlyArray<{ readonly processor: StreamProcessor; readonly mediaType: string }>
  readonly treatment: Exclude<Treatment, 'unknown'>
}

/** More steps than any sensible configuration has: processors that feed each other in a circle end here. */
const longestChain = 16

/**
 * The processors that lead from a media type to a tar. A configured one goes before what is built in, the last
 * configured before the others.
 */
export function processorChain(mediaType: string, processors: readonly StreamProcessor[]): ProcessorChain {
  const steps: Array<ProcessorChain['steps'][number]> = []
  for (let type = mediaType; steps.length <= longestChain; ) {
    const accepted = type
    const processor = processors.findLast((one) => one.accepts.includes(accepted))
    if (processor === undefined) {
      const treatment = treatmentOf(type)
      if (treatment === 'unknown') break
      return { steps, treatment }
    }
    steps.push({ processor, mediaType: type })
    type = processor.returns
  }
  throw unknown(`failed to get stream processor for ${mediaType}: no processor for media-type`)
}

/** Programs at work; disposing stops those that still run and closes the stream. */
export interface RunningChain extends AsyncDisposable {
  /** Descriptor of the resulting stream. */
  readonly fd: number
  /** Waits for the programs; an error when one of them failed. */
  finished(): Promise<void>
  /** Throws what a program says that has failed by now or in a moment; else returns. */
  failed(): Promise<void>
}

/** Starts the programs of a chain on an open blob, which stays the caller's. An abort ends them. */
export function runChain(
  chain: ProcessorChain,
  blob: number,
  payloads: Readonly<Record<string, Any>>,
  tmpDir: string,
  signal: AbortSignal,
): RunningChain {
  const programs: Array<ReturnType<typeof startProgram>> = []
  const stop = () => {
    for (const program of programs) program.stop()
  }
  let fd = blob
  try {
    for (const { processor, mediaType } of chain.steps) {
      const { read, write } = pipe()
      const input = fd
      fd = read
      try {
        programs.push(startProgram(processor, mediaType, input, write, payloads[processor.id], tmpDir))
      } finally {
        closeSync(write)
        if (input !== blob) closeSync(input)
      }
    }
  } catch (error) {
    stop()
    if (fd !== blob) closeSync(fd)
    throw error
  }
  signal.addEventListener('abort', stop, { once: true })
  return {
    fd,
    async finished() {
      for (const program of programs) await program.ended
    },
    async failed() {
      const outcomes = Promise.all(programs.map((program) => outcome(program.ended)))
      const known = await Promise.race([outcomes, sleep(failureGrace, [])])
      const failure = known.find((one) => one !== undefined)
      if (failure !== undefined) throw failure
    },
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', stop)
      stop()
      await Promise.allSettled(programs.map((program) => program.ended))
      if (fd !== blob) closeSync(fd)
    },
  }
}

/** Milliseconds in which a program that broke its stream is expected to end. */
const failureGrace = 500

async function outcome(ended: Promise<void>): Promise<unknown> {
  return await ended.then(
    () => undefined,
    (error: unknown) => error,
  )
}

/** Bytes kept of what a program says about its failure. */
const errorLimit = 4096

function startProgram(
  processor: StreamProcessor,
  mediaType: string,
  input: number,
  output: number,
  payload: Any | undefined,
  tmpDir: string,
): { ended: Promise<void>; stop: () => void } {
  const payloadFile = payload === undefined ? undefined : openPayload(payload, tmpDir)
  const extra = Object.fromEntries(
    processor.env.map((entry) => [entry.replace(/=.*$/s, ''), entry.replace(/^[^=]*=?/, '')]),
  )
  const program = spawn(processor.path, processor.args, {
    stdio: [input, output, 'pipe', ...(payloadFile === undefined ? [] : [payloadFile])],
    env: { ...process.env, ...extra, STREAM_PROCESSOR_MEDIATYPE: mediaType },
  })
  if (payloadFile !== undefined) closeSync(payloadFile)
  let complaint = ''
  program.stderr?.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-errorLimit)
  })
  const ended = once(program, 'close').then(([code, signal]: unknown[]) => {
    if (code === 0) return
    const how = code === null ? `was ended by ${signal}` : `exited with ${code}`
    throw unknown(`stream processor ${processor.id} ${how}: ${complaint.trim()}`)
  })
  // Looked at when the layer has been read; until then a failure is not unhandled.
  ended.catch(() => {})
  return { ended, stop: () => program.kill('SIGKILL') }
}

/** The payload as a file without a name, to be inherited as descriptor 3. */
function openPayload(payload: Any, tmpDir: string): number {
  const path = join(tmpDir, `payload-${process.pid}-${Math.random().toString(36).slice(2)}`)
  writeFileSync(path, Any.encode(payload).finish(), { mode: 0o600, flag: 'wx' })
  try {
    return openSync(path, 'r')
  } finally {
    unlinkSync(path)
  }
}
