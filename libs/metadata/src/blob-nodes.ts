import { asked as ask } from './connection.ts'
import type { Metadata } from './store.ts'

const blobNodesKey = (digest: string) => `fl:{blob:${digest}}:nodes`

/** Notes that a node has a blob, all of it. */
export async function addBlobNode(metadata: Metadata, digest: string, node: string): Promise<void> {
  await ask(metadata.redis.sadd(blobNodesKey(digest), node))
}

export async function removeBlobNode(metadata: Metadata, digest: string, node: string): Promise<void> {
  await ask(metadata.redis.srem(blobNodesKey(digest), node))
}

/** The nodes that have a blob; one that is listed may have lost it, one that is not listed does not have it. */
export async function blobNodes(metadata: Metadata, digest: string): Promise<string[]> {
  return (await ask(metadata.redis.smembers(blobNodesKey(digest)))).sort()
}
