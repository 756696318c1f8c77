import { mkdir } from 'node:fs/promises'
import { RpcError, status } from '@flotilla/rpc'
import type { ContentService, ContentServiceDeps } from '../index.ts'
import { type ContentWorld, contentWorld } from './world.ts'

/** Content stores of several nodes that reach each other, in one process. */
export interface ContentNodes extends AsyncDisposable {
  readonly world: ContentWorld
  readonly names: readonly string[]
  of(name: string): ContentService
  root(name: string): string
  /** Those that the others take for gone. */
  readonly away: Set<string>
  /** How many of the next questions what blobs it has a node is too busy to answer in time. */
  readonly busy: Map<string, number>
  /** How many of the next reads of blobs break off at a node after some bytes. */
  readonly breaking: Map<string, number>
  /** Where reads of blobs by other nodes began. */
  readonly readFrom: number[]
  /** Nodes that were asked what blobs they have, in order. */
  readonly asked: string[]
}

export async function contentNodes(
  names: readonly string[],
  deps: Partial<ContentServiceDeps> = {},
): Promise<ContentNodes> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await contentWorld())
  const services = new Map<string, ContentService>()
  const away = new Set<string>()
  const busy = new Map<string, number>()
  const breaking = new Map<string, number>()
  const readFrom: number[] = []
  const asked: string[] = []
  const of = (name: string): ContentService => {
    const service = services.get(name)
    if (service === undefined) throw new Error(`there is no node ${name}`)
    return service
  }
  const root = (name: string) => world.world.join(name)
  for (const nodeName of names) {
    await mkdir(root(nodeName), { recursive: true })
    const peers = {
      ready: async () => names.filter((name) => !away.has(name)),
      isReady: async (name: string) => !away.has(name),
      blobs: (name: string): ContentService['forPeers'] => ({
        ...of(name).forPeers,
        stat: (request, call) => {
          asked.push(name)
          if (isOneOf(busy, name)) throw new RpcError(status.DEADLINE_EXCEEDED, `${name} has much to do`)
          return of(name).forPeers.stat(request, call)
        },
        async *read(request, call) {
          readFrom.push(request.offset)
          const breaks = isOneOf(breaking, name)
          for await (const piece of of(name).forPeers.read(request, call)) {
            yield piece
            if (breaks) throw new RpcError(status.UNAVAILABLE, `${name} breaks off`)
          }
        },
      }),
      local: (name: string) => of(name).blobs,
      source: async () => undefined,
    }
    services.set(nodeName, stack.use(await world.open({ root: root(nodeName), nodeName, peers, ...deps })))
  }
  const owned = stack.move()
  return {
    world,
    names,
    of,
    root,
    away,
    busy,
    breaking,
    readFrom,
    asked,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Counts one down; whether it was one of those that were left. */
function isOneOf(left: Map<string, number>, name: string): boolean {
  const count = left.get(name) ?? 0
  left.set(name, count - 1)
  return count > 0
}
