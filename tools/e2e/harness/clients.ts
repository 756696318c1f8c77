import { type Call, clientOf, connect, makeCall, type ServiceDefinition, type ServiceOf } from '@flotilla/rpc'

/** Typed clients over one connection to a system under test. */
export interface Clients extends Disposable {
  of<D extends ServiceDefinition>(definition: D): ServiceOf<D>
}

export function connectTo(address: string): Clients {
  const channel = connect(`unix://${address}`)
  return { of: (definition) => clientOf(definition, channel), [Symbol.dispose]: () => channel.close() }
}

export interface Refusal {
  readonly code: number
  readonly message: string
}

/** Waits for a call to fail and gives how; an answer is an error here. Streams are read to their end. */
export async function refusalOf(answer: Promise<unknown> | AsyncIterable<unknown>): Promise<Refusal> {
  let came: unknown
  try {
    came = Symbol.asyncIterator in answer ? await collect(answer) : await answer
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'number')
      return { code: error.code, message: error.message }
    throw error
  }
  throw new Error(`should have been refused, but answered ${JSON.stringify(came)}`)
}

export async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const one of stream) all.push(one)
  return all
}

export function callIn(namespace: string, more: { lease?: string; metadata?: Record<string, string> } = {}): Call {
  return makeCall({ namespace, timeout: 30_000, ...more })
}
