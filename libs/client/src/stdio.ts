import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, type Readable, Writable } from 'node:stream'
import { promisify } from 'node:util'
import type { StdioInput } from '@flotilla/api/flotilla/stdio/v1/stdio'
import { openFifos } from '@flotilla/fifo'
import { internal } from '@flotilla/rpc'
import type { CallSettings } from './caller.ts'
import type { Client } from './client.ts'
import { queue } from './queue.ts'

export interface StdioOptions {
  readonly stdin: boolean
  readonly terminal: boolean
}

/** The client's end of a process's standard streams, wherever the client is. */
export interface Stdio extends AsyncDisposable {
  readonly paths: { readonly stdin: string; readonly stdout: string; readonly stderr: string }
  readonly stdin: Writable | undefined
  readonly stdout: Readable
  readonly stderr: Readable | undefined
  /** To be called when the process runs. */
  started(): void
}

/** Makes FIFOs: here, when the socket is on this machine, else on the node that serves the endpoint. */
export function openStdio(client: Client, options: StdioOptions, settings: CallSettings): Promise<Stdio> {
  const path = client.options.address.replace(/^unix:(\/\/)?/, '')
  return existsSync(path) ? openHere(options) : openThere(client, options, settings)
}

function openHere(options: StdioOptions): Promise<Stdio> {
  const mkfifo = async (paths: readonly string[]) => {
    await promisify(execFile)('mkfifo', ['-m', '600', ...paths])
  }
  return openFifos(join(tmpdir(), `flotilla-io-${randomUUID()}`), { ...options, mkfifo })
}

async function openThere(client: Client, options: StdioOptions, settings: CallSettings): Promise<Stdio> {
  const ended = new AbortController()
  const signal = settings.signal ? AbortSignal.any([settings.signal, ended.signal]) : ended.signal
  const requests = queue<Partial<StdioInput>>()
  requests.push({ open: options })
  const answers = client.stdio.open(requests, { ...settings, signal, timeout: undefined })[Symbol.asyncIterator]()
  const first = await answers.next()
  const paths = first.done ? undefined : first.value.opened
  if (paths === undefined) throw internal('the node tells no paths of standard streams')
  const stdout = new PassThrough()
  const stderr = options.terminal ? undefined : new PassThrough()
  void (async () => {
    try {
      for (let next = await answers.next(); !next.done; next = await answers.next()) {
        if (next.value.stdout && !stdout.write(next.value.stdout)) await once(stdout, 'drain', { signal })
        if (next.value.stderr && stderr && !stderr.write(next.value.stderr)) await once(stderr, 'drain', { signal })
      }
      stdout.end()
      stderr?.end()
    } catch (error) {
      for (const stream of [stdout, stderr])
        if (ended.signal.aborted) stream?.end()
        else stream?.destroy(error as Error)
    }
  })()
  const stdin = new Writable({
    write(chunk: Buffer, _encoding, done) {
      requests.push({ stdin: chunk })
      // One piece at a time is on its way: whoever types or copies waits for the connection.
      void requests.taken().then(() => done())
    },
    final(done) {
      requests.end()
      done()
    },
  })
  return {
    paths,
    stdin: options.stdin ? stdin : undefined,
    stdout,
    stderr,
    started: () => requests.push({ started: true }),
    async [Symbol.asyncDispose]() {
      requests.end()
      ended.abort()
      stdin.destroy()
    },
  }
}
