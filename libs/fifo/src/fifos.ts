import { closeSync, constants, openSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

export interface FifoOptions {
  readonly stdin: boolean
  /** A terminal has one output. */
  readonly terminal: boolean
  /** Makes FIFOs at paths; Node cannot. */
  readonly mkfifo: (paths: readonly string[]) => Promise<void> | void
}

/** FIFOs of an earlier process of ours. */
export interface ReopenOptions extends Omit<FifoOptions, 'mkfifo'> {
  /** Whether the process's side was open by then: outputs end when that side has gone. */
  readonly started: boolean
}

/** The client's end of the standard streams of one process. */
export interface Fifos extends AsyncDisposable {
  /** As they are named in a request; empty where there is none. */
  readonly paths: { readonly stdin: string; readonly stdout: string; readonly stderr: string }
  /** Ending it is the process's end of file, once its shim was told to close its own end (CloseIO). */
  readonly stdin: Writable | undefined
  readonly stdout: Readable
  readonly stderr: Readable | undefined
  /** The process's side is open: from now on outputs end when that side goes. */
  started(): void
}

/** Makes FIFOs in a new directory and opens them. Disposing it closes them and removes the directory. */
export async function openFifos(directory: string, options: FifoOptions): Promise<Fifos> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  return await open(directory, options, options.mkfifo)
}

/** Opens FIFOs that {@link openFifos} made and nobody disposed of. What was written into them meanwhile is there. */
export async function reopenFifos(directory: string, options: ReopenOptions): Promise<Fifos> {
  const fifos = await open(directory, options, () => {})
  if (options.started) fifos.started()
  return fifos
}

async function open(
  directory: string,
  options: Omit<FifoOptions, 'mkfifo'>,
  make: FifoOptions['mkfifo'],
): Promise<Fifos> {
  const path = (name: string, wanted: boolean) => (wanted ? join(directory, name) : '')
  const paths = {
    stdin: path('stdin', options.stdin),
    stdout: path('stdout', true),
    stderr: path('stderr', !options.terminal),
  }
  const held: number[] = []
  const sockets: Socket[] = []
  /** Opens without waiting: a reader finds no end of file before somebody has written, for we hold the other end too. */
  const output = (name: string): Readable => {
    const fd = openSync(name, constants.O_RDONLY | constants.O_NONBLOCK)
    held.push(openSync(name, constants.O_WRONLY | constants.O_NONBLOCK))
    return track(new Socket({ fd, readable: true, writable: false }))
  }
  const input = (name: string): Writable =>
    track(new Socket({ fd: openSync(name, constants.O_RDWR | constants.O_NONBLOCK), readable: false, writable: true }))
  const track = (socket: Socket): Socket => {
    sockets.push(socket)
    return socket
  }
  const started = () => {
    for (const fd of held.splice(0)) closeSync(fd)
  }
  const dispose = async () => {
    started()
    for (const socket of sockets) socket.destroy()
    await rm(directory, { recursive: true, force: true })
  }
  try {
    await make(Object.values(paths).filter((name) => name !== ''))
    return {
      paths,
      stdout: output(paths.stdout),
      stderr: paths.stderr === '' ? undefined : output(paths.stderr),
      stdin: paths.stdin === '' ? undefined : input(paths.stdin),
      started,
      [Symbol.asyncDispose]: dispose,
    }
  } catch (error) {
    await dispose()
    throw error
  }
}
