import { constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import type { Process } from '@flotilla/api/containerd/v1/types/types'
import {
  StreamPiece_Direction as Direction,
  StreamPiece,
  type StreamsDefinition,
} from '@flotilla/api/flotilla/peer/v1/peer'
import { makeCall, type ServiceOf } from '@flotilla/rpc'
import type { Bridge } from './bridges.ts'
import { Source } from './source.ts'

export interface AttachmentsDeps {
  readonly streams: (node: string) => ServiceOf<StreamsDefinition>
  readonly logger: { warn(about: object, message: string): void }
}

/** Clients on other nodes that attach to processes of this one which they did not start. */
export interface Attachments extends AsyncDisposable {
  /** The process with FIFOs on the client's node; it gets the streams when it opens them. */
  open(key: string, clientNode: string, process: Process, bridge: Bridge | undefined): Promise<Process>
  /** The process's input was closed. */
  closeStdin(key: string): void
}

/** Milliseconds that a client's node has to make FIFOs. */
const patience = 2_000

interface Attachment {
  readonly key: string
  readonly paths: { readonly stdin: string; readonly stdout: string; readonly stderr: string }
  readonly closing: PromiseWithResolvers<void>
}

export function createAttachments({ logger, streams }: AttachmentsDeps): Attachments {
  /** By process and node. */
  const attachments = new Map<string, Attachment>()
  const ended = new AbortController()

  async function pass(
    { closing, paths }: Attachment,
    clientNode: string,
    process: Process,
    bridge: Bridge | undefined,
  ): Promise<void> {
    const over = new AbortController()
    const signal = AbortSignal.any([ended.signal, over.signal])
    const node = streams(clientNode)
    const opened: Socket[] = []
    // Opened only when the client is there: whoever reads a FIFO takes from it.
    const reading = (path: string): Source => {
      const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
      const socket = new Socket({ fd, readable: true, writable: false })
      opened.push(socket)
      return new Source(socket)
    }
    const writing = (path: string): Writable => {
      const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
      const socket = new Socket({ fd, readable: false, writable: true })
      socket.on('error', () => {})
      opened.push(socket)
      return socket
    }

    async function output(path: string, source: () => Source, present: () => void): Promise<void> {
      const ready = Promise.withResolvers<boolean>()
      async function* requests(): AsyncGenerator<StreamPiece> {
        yield StreamPiece.fromPartial({ path, direction: Direction.OUTPUT })
        if (!(await ready.promise)) return
        for await (const data of source().lend()) yield StreamPiece.fromPartial({ data })
      }
      try {
        for await (const _ of node.connect(requests(), makeCall({ signal }))) {
          ready.resolve(true)
          present()
        }
      } finally {
        ready.resolve(false)
      }
    }

    async function input(path: string, to: Writable): Promise<void> {
      async function* requests(): AsyncGenerator<StreamPiece> {
        yield StreamPiece.fromPartial({ path, direction: Direction.INPUT })
        await closing.promise
        yield StreamPiece.fromPartial({ closing: true })
      }
      for await (const { data } of node.connect(requests(), makeCall({ signal })))
        if (!to.write(data)) await new Promise((resolve) => to.once('drain', resolve).once('close', resolve))
      to.end()
    }

    let begun = false
    const present = () => {
      if (begun || paths.stdin === '') return
      begun = true
      void input(paths.stdin, bridge?.input ?? writing(process.stdin)).catch((err: unknown) => {
        if (!signal.aborted)
          logger.warn({ err, node: clientNode }, 'the input of an attached client cannot be passed on')
      })
    }
    try {
      await Promise.all([
        output(paths.stdout, () => bridge?.outputs.stdout ?? reading(process.stdout), present),
        ...(paths.stderr === ''
          ? []
          : [
              output(
                paths.stderr,
                () => bridge?.outputs.stderr ?? reading(process.stderr),
                () => {},
              ),
            ]),
      ])
    } finally {
      over.abort()
      closing.resolve()
      for (const socket of opened) socket.destroy()
    }
  }

  return {
    async open(key, clientNode, process, bridge) {
      const name = `${clientNode}/${key}`
      let attachment = attachments.get(name)
      if (attachment === undefined) {
        const isFifo = (path: string) => path.startsWith('/')
        const wanted = { stdin: isFifo(process.stdin), stderr: isFifo(process.stderr) && !process.terminal }
        const paths = await streams(clientNode).prepare(wanted, makeCall({ timeout: patience }))
        attachment = { key, paths, closing: Promise.withResolvers() }
        attachments.set(name, attachment)
        // Most who ask for a process do not attach to it: that nobody came is no news.
        void pass(attachment, clientNode, process, bridge)
          .catch(() => {})
          .finally(() => attachments.delete(name))
      }
      return { ...process, ...attachment.paths }
    },
    closeStdin(key) {
      for (const attachment of attachments.values()) if (attachment.key === key) attachment.closing.resolve()
    },
    async [Symbol.asyncDispose]() {
      ended.abort()
    },
  }
}
