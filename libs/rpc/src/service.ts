import type { BinaryWriter } from '@bufbuild/protobuf/wire'
import type { Call } from './call.ts'

/** How ts-proto encodes and decodes one message type. */
export interface WireType<T> {
  encode(message: T, writer?: BinaryWriter): BinaryWriter
  decode(bytes: Uint8Array): T
}

export interface MethodDefinition {
  readonly name: string
  readonly requestType: WireType<unknown>
  readonly requestStream: boolean
  readonly responseType: WireType<unknown>
  readonly responseStream: boolean
}

export interface ServiceDefinition {
  readonly name: string
  readonly fullName: string
  readonly methods: Readonly<Record<string, unknown>>
}

// biome-ignore lint/suspicious/noExplicitAny: conditional inference over generated types needs a bivariant slot
type Decoded<W> = W extends { decode(input: any, length?: number): infer T } ? T : never

type RequestOf<M> = M extends { requestType: infer W; requestStream: infer S }
  ? S extends true
    ? AsyncIterable<Decoded<W>>
    : Decoded<W>
  : never

type AnswerOf<M> = M extends { responseType: infer W; responseStream: infer S }
  ? S extends true
    ? AsyncIterable<Decoded<W>>
    : Promise<Decoded<W>>
  : never

/**
 * A service, as its caller and as its maker see it: one method for each rpc, with the request (or an async iterable of
 * requests) and the call. A factory returns this; a client over gRPC or the bus has the same type; so code that calls a
 * service does not know where it runs.
 *
 * Streams: an answer stream ends when its iterable returns; a consumer that stops early (`break`) cancels the call.
 */
export type ServiceOf<D extends ServiceDefinition> = {
  [K in keyof D['methods']]: (request: RequestOf<D['methods'][K]>, call: Call) => AnswerOf<D['methods'][K]>
}

const passing = new WeakSet<object>()

/**
 * Says of a service's method that takes a stream that it keeps nothing of a request once it asks for the next one. A
 * server then uses the request's memory again, which for many bytes saves more than half of what receiving them costs.
 */
export function keepsNoRequest<M extends object>(method: M): M {
  passing.add(method)
  return method
}

export const doesKeepNoRequest = (method: object) => passing.has(method)

/** The methods of a definition with their property names, in a form the transports can walk. */
export function methodsOf(definition: ServiceDefinition): ReadonlyArray<readonly [string, MethodDefinition]> {
  return Object.entries(definition.methods) as ReadonlyArray<readonly [string, MethodDefinition]>
}
