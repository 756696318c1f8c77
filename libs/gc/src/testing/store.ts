import { createMetadata, type Metadata } from '@flotilla/metadata'
import { startRedis } from '@flotilla/testing'
import { afterAll, beforeAll } from 'vitest'

/**
 * Gives a test file a metadata store on a Redis of its own, from before its first test until after its last.
 *
 * @param use is handed the store, and the address of the Redis
 */
export function withStore(use: (metadata: Metadata, url: string) => void): void {
  const stack = new AsyncDisposableStack()
  beforeAll(async () => {
    const redis = stack.use(await startRedis({ relaxed: true }))
    use(stack.use(await createMetadata({ url: redis.url, origin: 'test' })), redis.url)
  })
  afterAll(() => stack.disposeAsync())
}
