import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { clientOf, connect, createRpcServer, type ServiceOf } from '@flotilla/rpc'
import { contentSuite } from '@flotilla/testing/content-suite'
import { outboxOf } from '@flotilla/testing/metadata-suite'
import { contentWorld } from './testing/world.ts'

type Content = ServiceOf<typeof ContentDefinition>

/** The same store behind a socket, for as long as the stack lasts. */
async function overGrpc(content: Content, path: string, stack: AsyncDisposableStack): Promise<Content> {
  const server = stack.use(createRpcServer())
  server.add(ContentDefinition, content)
  const channel = connect(await server.listen(`unix://${path}`))
  stack.defer(() => channel.close())
  return clientOf(ContentDefinition, channel)
}

/** A store on disk, as another program has it. */
async function openPlugin(stack: AsyncDisposableStack): Promise<Content> {
  const world = stack.use(await contentWorld())
  const { content } = stack.use(await world.open())
  return await overGrpc(content, world.world.join('plugin.sock'), stack)
}

async function open(how: 'here' | 'over gRPC' | 'proxied') {
  await using stack = new AsyncDisposableStack()
  const plugin = how === 'proxied' ? await openPlugin(stack) : undefined
  const world = stack.use(await contentWorld())
  let { content } = stack.use(await world.open({ plugin }))
  if (how === 'over gRPC') content = await overGrpc(content, world.world.join('content.sock'), stack)
  const owned = stack.move()
  return {
    content,
    createLease: world.createLease,
    leaseResources: world.leaseResources,
    topics: async (namespace: string) => (await outboxOf(world.metadata, namespace)).map(({ topic }) => topic),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

contentSuite('on disk', () => open('here'))
contentSuite('on disk, over gRPC', () => open('over gRPC'))
contentSuite('of another program', () => open('proxied'))
