import { once } from 'node:events'
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { hasCode, status } from '@flotilla/rpc'
import type { CallSettings } from './caller.ts'
import type { Client } from './client.ts'
import type { Stdio } from './stdio.ts'
import { dateOf } from './time.ts'

export interface Exit {
  /** As the process gave it; 128 plus the signal's number when one ended it. */
  readonly code: number
  readonly at: Date
}

/** A process in a container, with its streams if it was started with any. */
export interface Process {
  readonly containerId: string
  /** Empty for the container's own process. */
  readonly execId: string
  /** On its node. */
  readonly pid: number
  readonly stdin: Writable | undefined
  readonly stdout: Readable | undefined
  readonly stderr: Readable | undefined
  /** Waits for its end. May be called again and again. */
  wait(settings?: CallSettings): Promise<Exit>
  kill(signal?: NodeJS.Signals | number, settings?: CallSettings): Promise<void>
  /** Tells a terminal its size. */
  resize(columns: number, rows: number): Promise<void>
  /** Removes what is left of it once it has ended; its output can still be read to the end. */
  delete(): Promise<void>
}

export interface ProcessOptions {
  readonly client: Client
  readonly containerId: string
  readonly execId: string
  readonly pid: number
  readonly stdio: Stdio | undefined
}

export function processOf({ client, containerId, execId, pid, stdio }: ProcessOptions): Process {
  if (stdio?.stdin) closeInput(client, containerId, execId, stdio.stdin)
  return {
    containerId,
    execId,
    pid,
    stdin: stdio?.stdin,
    stdout: stdio?.stdout,
    stderr: stdio?.stderr,
    async wait(settings) {
      for (;;) {
        try {
          const { exitStatus, exitedAt } = await client.tasks.wait({ containerId, execId }, settings)
          return { code: exitStatus, at: dateOf(exitedAt) }
        } catch (error) {
          // A daemon that starts again does not end a container.
          if (!hasCode(error, status.UNAVAILABLE) || settings?.signal?.aborted) throw error
          await new Promise((resolve) => setTimeout(resolve, 200))
        }
      }
    },
    async kill(signal = 'SIGTERM', settings) {
      const number = typeof signal === 'number' ? signal : constants.signals[signal]
      await client.tasks.kill({ containerId, execId, signal: number, all: false }, settings)
    },
    async resize(columns, rows) {
      await client.tasks.resizePty({ containerId, execId, width: columns, height: rows })
    },
    async delete() {
      await ignoring(status.NOT_FOUND, () =>
        execId === '' ? client.tasks.delete({ containerId }) : client.tasks.deleteProcess({ containerId, execId }),
      )
      await outputRead(stdio)
      await stdio?.[Symbol.asyncDispose]()
    },
  }
}

/** The shim holds an end of the input too, which it gives up when it is told. */
function closeInput(client: Client, containerId: string, execId: string, stdin: Writable): void {
  stdin.once('finish', () => {
    client.tasks.closeIO({ containerId, execId, stdin: true }).catch(() => {
      // The process has ended, and its input with it.
    })
  })
  // Ended processes take no input.
  stdin.on('error', () => {})
}

/** Waits until those who read the outputs have come to the end. Nobody reads an output that was never touched. */
async function outputRead(stdio: Stdio | undefined): Promise<void> {
  for (const output of [stdio?.stdout, stdio?.stderr])
    if (output && output.readableFlowing !== null && !output.readableEnded && !output.destroyed)
      await once(output, 'close')
}

export async function ignoring(code: number, work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!hasCode(error, code)) throw error
  }
}
