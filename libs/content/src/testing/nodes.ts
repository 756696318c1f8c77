import { mkdir } from 'node:fs/promises'
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
}

export async function contentNodes(
  names: readonly string[],
  deps: Partial<ContentServiceDeps> = {},
): Promise<ContentNodes> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await contentWorld())
  const services = new Map<string, ContentService>()
  const away = new Set<string>()
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
      blobs: (name: string) => of(name).forPeers,
      local: (name: string) => of(name).blobs,
      source: async () => undefined,
    }
    services.set(nodeName, stack.use(await world.open({ root: root(nodeName), nodeName, peers, ...deps })))
  }
  const owned = stack.move()
  return { world, names, of, root, away, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
