import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { clientOf, connect, createRpcServer } from '@flotilla/rpc'
import { contentSuite } from '@flotilla/testing/content-suite'
import { outboxOf } from '@flotilla/testing/metadata-suite'
import { contentWorld } from './testing/world.ts'

async function open(remote: boolean) {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await contentWorld())
  let { content } = stack.use(await world.open())
  if (remote) {
    const server = stack.use(createRpcServer())
    server.add(ContentDefinition, content)
    const channel = connect(await server.listen(`unix://${world.root}/content.sock`))
    stack.defer(() => channel.close())
    content = clientOf(ContentDefinition, channel)
  }
  const owned = stack.move()
  return {
    content,
    createLease: world.createLease,
    leaseResources: world.leaseResources,
    topics: async (namespace: string) => (await outboxOf(world.metadata, namespace)).map(({ topic }) => topic),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

contentSuite('on disk', () => open(false))
contentSuite('on disk, over gRPC', () => open(true))
