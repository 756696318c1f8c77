import type { Descriptor } from '@flotilla/oci'
import { unavailable } from '@flotilla/rpc'
import type { Endpoint, RetryOptions } from './endpoint.ts'
import type { HttpAnswer } from './transport.ts'

/** Content on its way to a registry. */
export interface Push {
  readonly endpoint: Endpoint
  readonly repository: string
  readonly retry: RetryOptions
  readonly descriptor: Descriptor
  readonly open: (offset: number) => AsyncIterable<Uint8Array>
  readonly mountFrom?: readonly string[]
  readonly tag?: string | undefined
  readonly onProgress?: ((sent: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

export function pushScopes(repository: string, ...mountFrom: string[]): string[] {
  return [`repository:${repository}:pull,push`, ...mountFrom.map((name) => `repository:${name}:pull`)]
}

/** The address that a registry names for what comes next. */
export function locationOf(answer: HttpAnswer): URL {
  const { location } = answer.headers
  if (location === undefined || !URL.canParse(location, answer.url))
    throw unavailable(`${answer.url.host} names no place for the upload: ${JSON.stringify(location)}`)
  return new URL(location, answer.url)
}

/** Whether the registry says that it took what we sent: 201 by the specification, its neighbours by some. */
export function isTaken({ status }: HttpAnswer): boolean {
  return status === 200 || status === 201 || status === 202 || status === 204
}
