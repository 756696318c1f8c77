import { randomUUID } from 'node:crypto'
import { StreamInit, type StreamingDefinition } from '@flotilla/api/containerd/services/streaming/v1/streaming'
import { type TransferDefinition, TransferRequest } from '@flotilla/api/containerd/services/transfer/v1/transfer'
import { ImageStore, OCIRegistry, Progress } from '@flotilla/api/containerd/types/transfer/transfer'
import type { NodePrepullDefinition } from '@flotilla/api/flotilla/cluster/v1/prepull'
import type { Any } from '@flotilla/api/google/protobuf/any'
import { type Call, invalidArgument, notFound, requireNamespace, type ServiceOf, withCall } from '@flotilla/rpc'

export interface NodePrepullDeps {
  readonly transfer: ServiceOf<typeof TransferDefinition>
  readonly streaming: ServiceOf<typeof StreamingDefinition>
  readonly nodeName: string
  /** `OS/ARCHITECTURE` of this node. */
  readonly platform: string
}

/** Bytes of one blob. */
interface Part {
  readonly done: number
  readonly total: number
}

/** Pulls on one node for whoever brings an image to many. */
export function createNodePrepull(deps: NodePrepullDeps): ServiceOf<typeof NodePrepullDefinition> {
  const running = new Map<string, Map<string, Part>>()
  return {
    async pull({ id, pull }, from) {
      // The caller is at another node's socket, or at none; snapshots are to be made here.
      const { 'flotilla-node-by': _, ...metadata } = Object.fromEntries(from.metadata)
      const call = withCall(from, {
        metadata: new Map(Object.entries({ ...metadata, 'flotilla-node': deps.nodeName })),
      })
      requireNamespace(call)
      if (pull === undefined || pull.reference === '') throw invalidArgument('a reference is needed')
      const [os = '', architecture = '', variant = ''] = (pull.platform || deps.platform).split('/')
      const platform = { os, architecture, variant }
      const parts = new Map<string, Part>()
      running.set(id, parts)
      try {
        await using progress = await openProgress(deps, call, ({ name, progress: done, total, desc }) => {
          if (desc) parts.set(name, { done, total })
        })
        await deps.transfer.transfer(
          TransferRequest.fromPartial({
            source: any('OCIRegistry', OCIRegistry, {
              reference: pull.reference,
              resolver: { defaultScheme: pull.defaultScheme },
            }),
            destination: any('ImageStore', ImageStore, {
              name: pull.reference,
              platforms: [platform],
              unpacks: [{ platform, snapshotter: pull.snapshotter || 'overlayfs' }],
            }),
            options: { progressStream: progress.id },
          }),
          call,
        )
        return { total: sum(parts).total }
      } finally {
        running.delete(id)
      }
    },
    async progress({ id }) {
      const parts = running.get(id)
      if (parts === undefined) throw notFound(`pull "${id}"`)
      return sum(parts)
    },
  }
}

function sum(parts: ReadonlyMap<string, Part>): Part {
  let [done, total] = [0, 0]
  for (const part of parts.values()) {
    done += part.done
    total += part.total
  }
  return { done, total }
}

function any<P, M>(
  name: string,
  codec: { fromPartial(object: P): M; encode(message: M): { finish(): Uint8Array } },
  message: P,
): Any {
  const value = Buffer.from(codec.encode(codec.fromPartial(message)).finish())
  return { typeUrl: `containerd.types.transfer.${name}`, value }
}

/** A stream on which the transfer service tells how it gets on. */
async function openProgress(deps: NodePrepullDeps, call: Call, tell: (progress: Progress) => void) {
  const id = `prepull-${randomUUID()}`
  const ended = new AbortController()
  const own = withCall(call, { signal: AbortSignal.any([call.signal, ended.signal]) })
  async function* requests(): AsyncGenerator<Any> {
    yield {
      typeUrl: 'containerd.services.streaming.v1.StreamInit',
      value: Buffer.from(StreamInit.encode({ id }).finish()),
    }
    await new Promise((resolve) => own.signal.addEventListener('abort', resolve, { once: true }))
  }
  const answers = deps.streaming.stream(requests(), own)[Symbol.asyncIterator]()
  await answers.next()
  const reading = (async () => {
    for (let next = await answers.next(); !next.done; next = await answers.next())
      tell(Progress.decode(next.value.value))
  })()
  // How it gets on is not worth failing for; whether it ended well is the transfer's answer.
  reading.catch(() => {})
  return {
    id,
    async [Symbol.asyncDispose]() {
      ended.abort()
    },
  }
}
