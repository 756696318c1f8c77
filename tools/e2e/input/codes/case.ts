import {
  ContentDefinition,
  WriteAction,
  type WriteContentRequest,
} from '@flotilla/api/containerd/services/content/v1/content'
import { type Call, type ServiceDefinition, status } from '@flotilla/rpc'
import { type Clients, collect } from '../../harness/clients.ts'

/** One request that is refused. */
export interface Case {
  readonly what: string
  /** Makes what the request needs in order to be refused for the reason that is meant. */
  readonly before?: (clients: Clients, call: Call) => Promise<unknown>
  readonly ask: (clients: Clients, call: Call) => Promise<unknown> | AsyncIterable<unknown>
  readonly code: number
  readonly message: RegExp
  /** Why containerd is not asked: it is odd there, or only a newer one does so. */
  readonly ours?: string
}

export const code = status

/** Requests with parts left out on purpose; what the generated types would insist on is not the point here. */
export const loose = (value: object) => value as never

/** Asks a method, by name; with `lease` under that lease. */
export function ask<D extends ServiceDefinition>(
  definition: D,
  method: keyof D['methods'] & string,
  request: object,
  more: { readonly lease?: string } = {},
): Case['ask'] {
  const { requestType } = definition.methods[method] as unknown as {
    requestType: { fromPartial(some: object): object }
  }
  return (clients, call) => {
    const service = clients.of(definition) as unknown as Record<
      string,
      (request: object, call: Call) => Promise<unknown>
    >
    const asked = service[method]?.(requestType.fromPartial(request), { ...call, ...more })
    if (asked === undefined) throw new Error(`there is no method ${method}`)
    return asked
  }
}

/** Several in a row, for `before`. */
export const all =
  (...asks: readonly Case['ask'][]): NonNullable<Case['before']> =>
  async (clients, call) => {
    for (const one of asks) {
      const answer = one(clients, call)
      await (Symbol.asyncIterator in answer ? collect(answer) : answer)
    }
  }

export const digest = `sha256:${'a'.repeat(64)}`
export const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 5, annotations: {} }
/** One byte more than a label may have. */
export const tooLong = { ['k'.repeat(1000)]: 'v'.repeat(3097) }
/** As long as a label may be. */
export const longest = { ['k'.repeat(1000)]: 'v'.repeat(3096) }
/** Else a collection may take a snapshot between two calls. */
export const kept = { 'containerd.io/gc.root': 'for the test' }
export const badFilter = 'labels.a-b==1'
export const runtime = { name: 'io.containerd.runc.v2', options: undefined }

export async function* messages(...requests: Array<Partial<WriteContentRequest>>): AsyncIterable<WriteContentRequest> {
  for (const request of requests)
    yield {
      action: WriteAction.STAT,
      ref: '',
      total: 0,
      expected: '',
      offset: 0,
      data: Buffer.alloc(0),
      labels: {},
      ...request,
    } as WriteContentRequest
}

export const image = (changes: object) => ({ image: { name: 'i', labels: {}, target, ...changes } })

export const container = (changes: object) => ({
  container: {
    id: 'c',
    labels: {},
    image: '',
    runtime,
    snapshotter: '',
    snapshotKey: '',
    extensions: {},
    sandbox: '',
    ...changes,
  },
})

/** `hello`, and what puts it into the namespace, kept. */
export const blob = {
  digest: 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',
  put: ((clients, call) =>
    clients
      .of(ContentDefinition)
      .write(
        messages({ ref: 'hello', action: WriteAction.COMMIT, data: Buffer.from('hello'), labels: kept }),
        call,
      )) as Case['ask'],
}
