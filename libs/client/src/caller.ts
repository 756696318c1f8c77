import { type CallOptions, clientOf, type connect, makeCall, methodsOf, type ServiceDefinition } from '@flotilla/rpc'

/** What a single call may have of its own; the client's settings hold where nothing is given. */
export interface CallSettings {
  /** containerd namespace. */
  readonly namespace?: string | undefined
  /** The node that the call is about: where a snapshot or container goes that it makes. */
  readonly node?: string | undefined
  /** Id of the lease that keeps what the call makes from collection. */
  readonly lease?: string | undefined
  /** Cancels the call. */
  readonly signal?: AbortSignal | undefined
  /** Milliseconds. */
  readonly timeout?: number | undefined
  /** Further metadata. */
  readonly metadata?: Readonly<Record<string, string>> | undefined
}

type Loose<W> = W extends { fromPartial(object: infer P): unknown } ? P : never
// biome-ignore lint/suspicious/noExplicitAny: inference over generated types needs a bivariant slot
type Decoded<W> = W extends { decode(input: any, length?: number): infer T } ? T : never

type Method<M> = M extends {
  requestType: infer R
  requestStream: infer RS
  responseType: infer A
  responseStream: infer AS
}
  ? (
      request: RS extends true ? AsyncIterable<Loose<R>> : Loose<R>,
      settings?: CallSettings,
    ) => AS extends true ? AsyncIterable<Decoded<A>> : Promise<Decoded<A>>
  : never

/**
 * A service as its user sees it: a method for each rpc. Requests may leave out fields; streams are async iterables, and
 * leaving a loop over one cancels the call. A failure is an RpcError with the gRPC code.
 */
export type Caller<D extends ServiceDefinition> = { readonly [K in keyof D['methods']]: Method<D['methods'][K]> }

/** Puts what the client was made with and what a call gives together. */
export function callOf(defaults: CallSettings, settings: CallSettings = {}): ReturnType<typeof makeCall> {
  const { namespace, node, lease, signal, timeout, metadata } = { ...defaults, ...definedOf(settings) }
  const options: CallOptions = {
    namespace,
    lease,
    signal,
    timeout,
    metadata: { ...defaults.metadata, ...metadata, ...(node === undefined ? {} : { 'flotilla-node': node }) },
  }
  return makeCall(options)
}

export function definedOf<T extends object>(settings: T): Partial<T> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as Partial<T>
}

interface Completing {
  fromPartial(object: unknown): unknown
}

export function callerOf<D extends ServiceDefinition>(
  definition: D,
  channel: ReturnType<typeof connect>,
  defaults: CallSettings,
): Caller<D> {
  const service = clientOf(definition, channel) as Record<string, (request: unknown, call: unknown) => unknown>
  const caller: Record<string, unknown> = {}
  for (const [key, method] of methodsOf(definition)) {
    const complete = (request: unknown) => (method.requestType as unknown as Completing).fromPartial(request)
    caller[key] = (request: unknown, settings?: CallSettings) =>
      service[key]?.(
        method.requestStream ? each(request as AsyncIterable<unknown>, complete) : complete(request),
        callOf(defaults, settings),
      )
  }
  return caller as Caller<D>
}

async function* each(messages: AsyncIterable<unknown>, change: (message: unknown) => unknown) {
  for await (const message of messages) yield change(message)
}
