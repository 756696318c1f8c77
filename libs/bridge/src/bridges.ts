import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  StreamPiece_Direction as Direction,
  StreamPiece,
  type StreamsDefinition,
} from '@flotilla/api/flotilla/peer/v1/peer'
import { type Fifos, openFifos } from '@flotilla/fifo'
import { mkfifo } from '@flotilla/linux'
import { hasCode, makeCall, type ServiceOf, status } from '@flotilla/rpc'
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

  return {
    async open(key, clientNode, client) {
      await bridges.get(key)?.drop()
      const own = join(directory, createHash('sha256').update(key).digest('hex').slice(0, 24))
      const fifos: Fifos = await openFifos(own, {
        stdin: isFifo(client.stdin),
        terminal: client.terminal || !isFifo(client.stderr),
        mkfifo: (paths) => {
          for (const path of paths) mkfifo(path)
        },
      })
      const over = new AbortController()
      const signal = AbortSignal.any([ended.signal, over.signal])
      const closing = Promise.withResolvers<void>()
      const node = streams(clientNode)
      const about = { key, client: clientNode }

      async function passOutput(from: Readable, path: string): Promise<void> {
        const source = new Source(from)
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
            source.stop()
            ready.resolve()
          }
        })
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
      if (isFifo(client.stdout)) work.push(passOutput(fifos.stdout, client.stdout))
      if (fifos.stderr) work.push(passOutput(fifos.stderr, client.stderr))
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
        started: () => fifos.started(),
        closeStdin: () => closing.resolve(),
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
    },
    get: (key) => bridges.get(key),
    async [Symbol.asyncDispose]() {
      ended.abort()
    },
  }
}
