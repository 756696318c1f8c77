import { StreamInit } from '@flotilla/api/containerd/services/streaming/v1/streaming'
import {
  AuthResponse,
  AuthType,
  ImageStore,
  OCIRegistry,
  Progress,
} from '@flotilla/api/containerd/types/transfer/transfer'
import { PrepullProgress_State } from '@flotilla/api/flotilla/cluster/v1/prepull'
import type { Any } from '@flotilla/api/google/protobuf/any'
import { goArchitecture } from '@flotilla/oci'
import { internal, invalidArgument, type RpcError, toRpcError, unknown } from '@flotilla/rpc'
import { anyOf } from './any.ts'
import type { CallSettings } from './caller.ts'
import type { Client } from './client.ts'
import { queue } from './queue.ts'

export interface PullOptions extends CallSettings {
  /** `OS/ARCHITECTURE[/VARIANT]`; the machine's own unless given. */
  readonly platform?: string | undefined
  /** Makes snapshots of the layers with this driver; `overlayfs` unless given, `false` makes none. */
  readonly snapshotter?: string | false | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly credentials?: { readonly username: string; readonly password: string } | undefined
  /** The registry speaks HTTP without TLS. */
  readonly plainHttp?: boolean | undefined
  /** Directory, on the node, with `hosts.toml` files. */
  readonly hostsDir?: string | undefined
  /** Told of each step. */
  readonly onProgress?: ((progress: PullProgress) => void) | undefined
}

/** What is known of one part of a pull. */
export interface PullProgress {
  /** What happens to it: `resolving`, `waiting`, `downloading`, `complete`, `extracting`, `extracted`, `saved`, … */
  readonly event: string
  /** The image, or kind and digest of a blob. */
  readonly name: string
  /** Bytes done and bytes in all; 0 where unknown. */
  readonly done: number
  readonly total: number
}

/** The platform of this process, `OS/ARCHITECTURE`. */
export const hostPlatform = `linux/${goArchitecture()}`

/** Fetches an image and makes its snapshots, all on the node's side; answers its record. */
export async function pull(client: Client, reference: string, options: PullOptions = {}) {
  const { onProgress, credentials, snapshotter = 'overlayfs' } = options
  const calls = client.with({ namespace: options.namespace, node: options.node, lease: options.lease })
  const settings: CallSettings = { signal: options.signal, timeout: options.timeout, metadata: options.metadata }
  const node = options.node ?? client.options.node
  if (node !== undefined) {
    if (credentials || options.hostsDir) throw invalidArgument('a pull to a named node has no credentials of its own')
    await pullTo(calls, node, reference, options, settings)
    return await imageOf(calls, reference, settings)
  }
  const [os = '', architecture = '', variant = ''] = (options.platform ?? hostPlatform).split('/')
  const platform = { os, architecture, variant }
  await using streams = new AsyncDisposableStack()
  const open = async (answer: (message: Any) => Any | undefined) => {
    const stream = await openStream(calls, settings, answer)
    streams.defer(() => stream.close())
    return stream.id
  }
  const progressStream = onProgress
    ? await open(({ value }) => {
        const { event, name, progress, total } = Progress.decode(value)
        onProgress({ event, name, done: progress, total })
        return undefined
      })
    : ''
  const authStream = credentials
    ? await open(() =>
        anyOf('containerd.types.transfer.AuthResponse', AuthResponse, {
          authType: AuthType.CREDENTIALS,
          username: credentials.username,
          secret: credentials.password,
        }),
      )
    : ''
  await calls.transfer.transfer(
    {
      source: anyOf('containerd.types.transfer.OCIRegistry', OCIRegistry, {
        reference,
        resolver: {
          authStream,
          hostDir: options.hostsDir ?? '',
          defaultScheme: options.plainHttp ? 'http' : '',
        },
      }),
      destination: anyOf('containerd.types.transfer.ImageStore', ImageStore, {
        name: reference,
        labels: options.labels ?? {},
        platforms: [platform],
        unpacks: snapshotter === false ? [] : [{ platform, snapshotter }],
      }),
      options: { progressStream },
    },
    settings,
  )
  return await imageOf(calls, reference, settings)
}

async function imageOf(client: Client, name: string, settings: CallSettings) {
  const { image } = await client.images.get({ name }, settings)
  if (image === undefined) throw internal(`image "${name}" has no record`)
  return image
}

/** Has a node pull for itself: a transfer is carried out by the node that is called, whoever is named. */
async function pullTo(
  client: Client,
  node: string,
  reference: string,
  { platform = '', snapshotter, plainHttp, onProgress }: PullOptions,
  settings: CallSettings,
): Promise<void> {
  if (snapshotter === false) throw invalidArgument('a pull to a named node makes snapshots')
  const request = {
    reference,
    nodes: [node],
    platform,
    snapshotter: snapshotter ?? '',
    defaultScheme: plainHttp ? 'http' : '',
  }
  for await (const { state, done, total, message } of client.prepull.pull(request, settings)) {
    if (state === PrepullProgress_State.FAILED) throw unknown(message)
    const event = state === PrepullProgress_State.DONE ? 'complete' : 'downloading'
    onProgress?.({ event, name: node, done, total })
  }
}

/** Opens a stream that a transfer refers to by its id, once the service knows it; what comes may be answered. */
async function openStream(client: Client, settings: CallSettings, answer: (message: Any) => Any | undefined) {
  const id = `client-${crypto.randomUUID()}`
  const ended = new AbortController()
  const signal = settings.signal ? AbortSignal.any([settings.signal, ended.signal]) : ended.signal
  const requests = queue<Any>()
  requests.push(anyOf('containerd.services.streaming.v1.StreamInit', StreamInit, { id }))
  const answers = client.streaming.stream(requests, { ...settings, signal })[Symbol.asyncIterator]()
  await answers.next()
  let failure: RpcError | undefined
  const reading = (async () => {
    try {
      for (let next = await answers.next(); !next.done; next = await answers.next()) {
        const reply = answer(next.value)
        if (reply) requests.push(reply)
      }
    } catch (error) {
      if (!ended.signal.aborted) failure = toRpcError(error)
    }
  })()
  return {
    id,
    async close(): Promise<void> {
      requests.end()
      // The service ends it when the transfer has; what is still on its way is not worth waiting for long.
      const late = setTimeout(() => ended.abort(), 1_000)
      await reading
      clearTimeout(late)
      if (failure && !settings.signal?.aborted && failure.code !== 14) throw failure
    },
  }
}
