import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { type StdioDefinition, type StdioInput, StdioOutput } from '@flotilla/api/flotilla/stdio/v1/stdio'
import { type Fifos, openFifos } from '@flotilla/fifo'
import { mkfifo } from '@flotilla/linux'
import { type Call, invalidArgument, type ServiceOf } from '@flotilla/rpc'

export interface StdioDeps {
  /** Where FIFOs are made; what a run before left there is removed. */
  readonly directory: string
}

/** Standard streams of processes for callers over the network. */
export async function createStdioService({ directory }: StdioDeps): Promise<ServiceOf<typeof StdioDefinition>> {
  await rm(directory, { recursive: true, force: true })
  return {
    async *open(requests, call) {
      const inputs = requests[Symbol.asyncIterator]()
      const first = await inputs.next()
      const wanted = first.done ? undefined : first.value.open
      if (wanted === undefined) throw invalidArgument('the first request must say what is wanted')
      await using fifos = await openFifos(join(directory, randomUUID()), {
        ...wanted,
        mkfifo: (paths) => {
          for (const path of paths) mkfifo(path, 0o600)
        },
      })
      yield StdioOutput.fromPartial({ opened: fifos.paths })
      const feeding = feed(inputs, fifos, call)
      // Told to the caller by the call's end.
      feeding.catch(() => {})
      yield* outputsOf(fifos, call)
    },
  }
}

/** Writes what the caller sends as fast as the process reads it. */
async function feed(inputs: AsyncIterator<StdioInput>, { stdin, started }: Fifos, call: Call): Promise<void> {
  for (let next = await inputs.next(); !next.done; next = await inputs.next()) {
    if (next.value.started) started()
    const bytes = next.value.stdin
    if (bytes && stdin && !stdin.destroyed && !stdin.write(bytes))
      await Promise.race([once(stdin, 'drain', { signal: call.signal }), once(stdin, 'close')])
  }
  stdin?.end()
}

/** Both outputs as they come, each piece when the caller took the one before. */
async function* outputsOf({ stdout, stderr }: Fifos, call: Call): AsyncGenerator<StdioOutput> {
  const onAbort = () => {
    stdout.destroy()
    stderr?.destroy()
  }
  call.signal.addEventListener('abort', onAbort, { once: true })
  try {
    const open = new Map<'stdout' | 'stderr', Promise<{ name: 'stdout' | 'stderr'; next: IteratorResult<Buffer> }>>()
    const iterators = {
      stdout: stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>,
      stderr: (stderr as Readable | undefined)?.[Symbol.asyncIterator]() as AsyncIterator<Buffer> | undefined,
    }
    const ask = (name: 'stdout' | 'stderr') => {
      const asked = iterators[name]?.next().then((next) => ({ name, next }))
      if (asked) open.set(name, asked)
    }
    ask('stdout')
    ask('stderr')
    while (open.size > 0) {
      const { name, next } = await Promise.race(open.values())
      if (next.done) open.delete(name)
      else {
        yield StdioOutput.fromPartial({ [name]: next.value })
        ask(name)
      }
    }
  } finally {
    call.signal.removeEventListener('abort', onAbort)
  }
}
