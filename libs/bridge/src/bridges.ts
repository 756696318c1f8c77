import { createHash } from 'node:crypto'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  StreamPiece_Direction as Direction,
  StreamPiece,
  type StreamsDefinition,
} from '@flotilla/api/flotilla/peer/v1/peer'
import { type Fifos, openFifos, reopenFifos } from '@flotilla/fifo'
import { errnoOf, mkfifo } from '@flotilla/linux'
import { hasCode, makeCall, type ServiceOf, status } from '@flotilla/rpc'
import { readSaved, type SavedBridge, saveBridge } from './saved-bridge.ts'
import { Source } from './source.ts'

/** Standard streams as a request names them. */
export interface Stdio {
  readonly stdin: string
  readonly stdout: string
  readonly stderr: string
  readonly terminal: boolean
}

/** One process's streams. */
export interface Bridge {
  /** The FIFOs of this node, in place of the client's. */
  readonly stdio: Stdio
  /** The node on which the client's are. */
  readonly clientNode: string
  readonly client: Stdio
  /** What the process writes. */
  readonly outputs: { readonly stdout: Source; readonly stderr: Source | undefined }
  /** What the process reads. */
  readonly input: Writable | undefined
  /** The shim has opened its ends. */
  started(): void
  /** The process's input was closed: when the client's end goes, that is the end of file. */
  closeStdin(): void
  /** There is no process. */
  drop(): Promise<void>
}

export interface BridgesDeps {
  /** Directory for FIFOs, of this alone. */
  readonly directory: string
  readonly streams: (node: string) => ServiceOf<StreamsDefinition>
  readonly logger: { warn(about: object, message: string): void }
}

export interface Bridges extends AsyncDisposable {
  /** Takes up the bridges of an earlier process of this node; to be called once, before any is opened. */
  resume(): Promise<void>
  /** Makes FIFOs here for a process whose client's are on another node. What is no FIFO (a URI) stays as it is. */
  open(key: string, clientNode: string, client: Stdio): Promise<Bridge>
  get(key: string): Bridge | undefined
}

/** Milliseconds before a client's node that does not answer is called again: first and longest. */
const pauses = { first: 50, longest: 1_000 } as const

const isFifo = (path: string) => path.startsWith('/')

export function createBridges({ directory, logger, streams }: BridgesDeps): Bridges {
  const bridges = new Map<string, Bridge>()
  const ended = new AbortController()

  /** Keeps one stream connected until `run` says that it is over. */
  async function keep(what: object, signal: AbortSignal, run: () => Promise<void>): Promise<void> {
    for (let pause: number = pauses.first; !signal.aborted; ) {
      try {
        await run()
        return
      } catch (err) {
        if (signal.aborted) return
        const away = hasCode(err, status.UNAVAILABLE) || hasCode(err, status.CANCELLED)
        if (!away) {
          logger.warn({ err, ...what }, 'a stream of a process cannot be passed on')
          return
        }
        await sleep(pause, undefined, { signal }).catch(() => {})
        pause = Math.min(2 * pause, pauses.longest)
      }
    }
  }

  /** Passes the streams of a process to and fro, as long as there is something to pass. */
  function connect(own: string, fifos: Fifos, saved: SavedBridge): Bridge {
    const { client, clientNode, key } = saved
    const over = new AbortController()
    const signal = AbortSignal.any([ended.signal, over.signal])
    const closing = Promise.withResolvers<void>()
    if (saved.closing) closing.resolve()
    const node = streams(clientNode)
    const about = { key, client: clientNode }
    let state = saved
    /** What a process of ours that comes after this one has to know. */
    const note = (change: Partial<SavedBridge>) => {
      state = { ...state, ...change }
      try {
        saveBridge(own, state)
      } catch (err) {
        if (!over.signal.aborted) logger.warn({ err, ...about }, 'the streams of a process will end with this agent')
      }
    }

    async function passOutput(source: Source, path: string): Promise<void> {
      await keep(about, signal, async () => {
        const ready = Promise.withResolvers<void>()
        async function* requests(): AsyncGenerator<StreamPiece> {
          yield StreamPiece.fromPartial({ path, direction: Direction.OUTPUT })
          await ready.promise
          for await (const data of source.take()) yield StreamPiece.fromPartial({ data })
        }
        try {
          for await (const _ of node.connect(requests(), makeCall({ signal }))) ready.resolve()
        } finally {
          if (!source.isLent) source.stop()
          ready.resolve()
        }
      })
      // Somebody else may have what is left.
      if (source.isLent) await source.ended
    }

    async function passInput(to: Writable, path: string): Promise<void> {
      await keep(about, signal, async () => {
        const finished = Promise.withResolvers<void>()
        async function* requests(): AsyncGenerator<StreamPiece> {
          yield StreamPiece.fromPartial({ path, direction: Direction.INPUT })
          await Promise.race([closing.promise, finished.promise])
          yield StreamPiece.fromPartial({ closing: true })
          await finished.promise
        }
        try {
          for await (const { data } of node.connect(requests(), makeCall({ signal })))
            if (!to.write(data)) await new Promise((resolve) => to.once('drain', resolve).once('close', resolve))
          to.end()
        } finally {
          finished.resolve()
        }
      })
    }

    const work: Promise<void>[] = []
    const stdout = new Source(fifos.stdout)
    const stderr = fifos.stderr && new Source(fifos.stderr)
    if (isFifo(client.stdout)) work.push(passOutput(stdout, client.stdout))
    if (stderr) work.push(passOutput(stderr, client.stderr))
    if (fifos.stdin) {
      fifos.stdin.on('error', () => {})
      void passInput(fifos.stdin, client.stdin)
    }
    const { paths } = fifos
    const bridge: Bridge = {
      stdio: {
        stdin: paths.stdin,
        stdout: isFifo(client.stdout) ? paths.stdout : client.stdout,
        stderr: paths.stderr || (isFifo(client.stderr) ? '' : client.stderr),
        terminal: client.terminal,
      },
      clientNode,
      client,
      outputs: { stdout, stderr },
      input: fifos.stdin,
      started() {
        note({ started: true })
        fifos.started()
      },
      closeStdin() {
        note({ closing: true })
        closing.resolve()
      },
      async drop() {
        over.abort()
        if (bridges.get(key) === bridge) bridges.delete(key)
        await fifos[Symbol.asyncDispose]()
      },
    }
    bridges.set(key, bridge)
    // When all that the process wrote is with the client there is nothing to keep.
    if (work.length > 0) void Promise.all(work).then(() => (ended.signal.aborted ? undefined : bridge.drop()))
    return bridge
  }

  const which = (client: Stdio) => ({
    stdin: isFifo(client.stdin),
    terminal: client.terminal || !isFifo(client.stderr),
  })

  return {
    async resume() {
      for (const own of await directoriesIn(directory)) {
        const saved = readSaved(own)
        try {
          if (saved === undefined) await rm(own, { recursive: true, force: true })
          else connect(own, await reopenFifos(own, { ...which(saved.client), started: saved.started }), saved)
        } catch (err) {
          logger.warn({ err, key: saved?.key }, 'the streams of a process cannot be taken up again')
        }
      }
    },
    async open(key, clientNode, client) {
      await bridges.get(key)?.drop()
      const own = join(directory, createHash('sha256').update(key).digest('hex').slice(0, 24))
      const fifos = await openFifos(own, {
        ...which(client),
        mkfifo: (paths) => {
          for (const path of paths) mkfifo(path)
        },
      })
      const { stderr, stdin, stdout, terminal } = client
      const saved = { key, clientNode, client: { stdin, stdout, stderr, terminal }, started: false, closing: false }
      saveBridge(own, saved)
      return connect(own, fifos, saved)
    },
    get: (key) => bridges.get(key),
    async [Symbol.asyncDispose]() {
      ended.abort()
    },
  }
}

async function directoriesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).map((name) => join(directory, name))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw error
  }
}
